"""Regular expressions that say how much a line looks like code, each from the line's first sign.

No pattern has two open repetitions that could share characters, so a line is read a few times at
most.
"""

import re

#: Longer lines are not looked at.
MAX_LINE = 2000
_NAMES = r"[A-Za-z_]\w*+(?:\.\w++)*+"
# A line of code whatever is around it.
CERTAIN = re.compile(
    # Python
    r"(?:async )?def \w++\(|class \w++(?:\([\w.,= \[\]]*+\))?:[ \t]*+(?:#.*)?$"  # noqa: S608
    rf"|import {_NAMES}(?: as \w++)?(?:, ?{_NAMES}(?: as \w++)?)*+;?$"
    r"|from \.*+[\w.]*+ import (?:\(|\*"
    r"|\w++(?: as \w++)?(?:, ?\w++(?: as \w++)?)*+,?[ \t]*+(?:#.*)?$)"
    r"|if __name__ ==|print\((?:f?[\"'].*|[^\s)]*+\)+;?$)|raise \w++\(|@\w++(?:\.\w++)++(?:\(|$)"
    # C and its descendants, JavaScript, Go, Rust, PHP
    r"|#[ ]?include[ ]*+[<\"]|#(?:define|ifdef|ifndef|pragma|undef)[ ]\w|using namespace \w++;"
    r"|using [\w.]++;|package [\w.]++;|import (?:static )?[\w.*]++;"
    r"|import [^'\"]*+['\"][^'\"]++['\"];?$"
    r"|(?:const|let|var) [\w{}\[\], :]++="
    r"|(?:export default )?(?:async )?function\b[ ]*+\*?\w*+[ ]?\("
    r"|(?:pub )?fn \w++[<(]|func (?:\([^)]*+\) )?\w++\(|console\.\w++\(|System\.out\.|<\?php|#!/"
    r"|\}[ ]*+(?:else|catch|finally)\b|(?:require|include)(?:_once|_relative)?[ (]['\"]"
    r"|[\w.:>\[\]*&$-]++(?:\([^;]*+\)|[ ]*+[-+*/|&]?=[^=;][^;]*+);[ \t]*+(?://.*)?$"
    r"|[^.!?{]*+(?<=[\w)>\]\"'=:+ ])\{$"
    # SQL
    r"|SELECT (?:DISTINCT |TOP \d++ )?(?:\*|[\w.`\"\[\]()*, ]*?) ?FROM [\w`\"\[(]"
    r"|INSERT INTO [\w.`\"\[]|UPDATE [\w.`\"\[\]]++ SET\b|DELETE FROM [\w.`\"\[]"
    r"|CREATE (?:OR REPLACE |UNIQUE |TEMPORARY )*+(?:TABLE|VIEW|INDEX|DATABASE|FUNCTION|PROCEDURE"
    r"|TRIGGER) |(?:ALTER|DROP|TRUNCATE) TABLE "
    # Shell, and what a prompt shows
    r"|>>> \S|In \[\d++\]: |PS [A-Z]:\\|[\w-]++@[\w.-]++(?::[^\s$#]*+)?[$#] \S"
    r"|\$ (?:sudo|apt|apt-get|pip3?|npm|npx|yarn|git|docker|kubectl|conda|brew|cargo|go|curl|wget"
    r"|chmod|chown|mkdir|rm|cp|mv|cat|grep|ls|cd|echo|export|ssh|scp|tar|make|python3?|node|bash|sh"
    r"|find|sed|awk|source|touch|systemctl|pwd|whoami)(?: |$)"
    r"|(?:curl|wget) (?:-\S++ )*+[\"']?https?://\S++$"
    # Stack traces and differences
    r"|Traceback \(most recent call last\):|File \"[^\"]++\", line \d|at [\w.$<>/]++\([^)\s]*+\)$"
    r"|at [\w.$<> ]{0,60}\([^)\s]++:\d++(?::\d++)?\)$|Exception in thread |Caused by: [\w.]++"
    r"|goroutine \d++ \[|thread '[^']*+' panicked at|diff --git |@@ -\d++(?:,\d++)? \+\d++"
    r"|index [0-9a-f]{7,40}\.\.[0-9a-f]{7,40}|\+\+\+ b?/\S++$|--- a/\S++$"
)
# The same of a line without `FUNCTION_WORD`: declarations, queries in small letters, commands.
CERTAIN_WITHOUT_PROSE = re.compile(
    r"(?:public|private|protected|static|final|abstract|virtual|inline|extern|unsigned|export)"
    r" [\w<>\[\],:*&? ]++[({;=]"
    r"|(?:int|void|float|bool|boolean|String|std::\w++) [*&]*+\w++[ ]*+(?:\(|=|;|\[)"
    # These begin sentences, too, as in "long options (see below)".
    r"|(?:char|double|long|auto|string) [*&]*+\w++(?:\(|[ ]*+=|;|\[)"
    r"|select [^;]++ from \w[^;.]*+;$"
    r"|(?:sudo (?:apt|apt-get|systemctl|yum|dnf|rm|chmod|chown|mkdir|service)"
    r"|(?:pip3?|npm|apt-get|brew|conda|cargo) (?:install|update|uninstall)|git (?:clone"
    r"|checkout|commit -"
    r"|push origin|pull origin|add \.)|docker (?:run|build|pull|exec) -|kubectl (?:apply|get"
    r"|create) )"
    r"(?: ?[\w@./:=<>~\"'\[\]-]++){0,8}$"
)
#: A word of English grammar before another word, as in no declaration.
FUNCTION_WORD = re.compile(
    r"(?<= )(?:an?|and|are|as|be|by|can|for|has|in|into|is|its|may|must|not|of|on|or|that|the|this"
    r"|to|was|were|which|will|with|you|your)[ ]++[A-Za-z]{2}"
)
COMMENT = re.compile(r"//|/\*|#|--[ ]")
# Two of these are code as well.
LIKELY = re.compile(
    r"(?:if|elif|while|for|with|except|match|case|switch|else if)\b.*[\w)\]'\"]:[ \t]*+(?:#.*)?$"
    r"|(?:else|try|finally|do|begin):?$|(?:pass|break|continue|end|fi|done|esac);?$"
    r"|return\b(?! \w++ \w)[^.]*+$|(?:return|yield|await|throw|del|assert|raise"
    r"|puts) [\w.(\"'\[-]\S*+;?$"
    r"|def \w++[?!]?(?: [\w, ]++)?$|@\w++$|\}[);,]*+$|\][);,]++$|package \w++$"
    rf"|{_NAMES}\(.*\)$|{_NAMES}(?:\[[^\]]*+\])?[ ]*+[-+*/|&]?:?=[ ]*+(?:[\[{{\"']"
    rf"|{_NAMES}[(\[]|\w++\.\w)"
    r"|(?:SELECT|FROM|WHERE|AND|OR|ON|SET|VALUES|GROUP BY|ORDER BY|HAVING|LIMIT|(?:INNER "
    r"|LEFT |RIGHT"
    r" |OUTER |FULL |CROSS )*+JOIN|UNION) [^.!?]*+(?:\.[A-Za-z_][^.!?]*+)*+;?$"
    r"|[\w.]++(?:(?<=Error)|(?<=Exception))(?:: .*)?$|\.\.\. \d++ more$|\w++(?:-\w++)*+: [^;]++;$"
    r"|(?:export )?[A-Z_]++=\S++$|.*;$"
)
# These belong to code beside them.
ADJACENT = re.compile(
    r"\*/|\"\"\"|'''|[\[\](){}]++[,;:]?$|[\w\"'\[({\])}.+-]++[ ]*+[-+*/|&]?:?=[^=]"
    r"|[\"'][^\"']*+[\"'][,:]?"
)
#: What a likely line has if it is code, and sentences have not.
SIGN = re.compile(
    r"[={}<>\"]|\w[_(\[]\w|\w\(|\)\.|^(?:el)?if (?:not )?[\w.]+:|^while (?:not )?[\w.]+:"
    r"|^for \w+ in [\w.]+:"
)
DIRECTIVE = re.compile(r"#!|#[ ]?include[ ]*+[<\"]|#(?:define|ifdef|ifndef|pragma|undef)[ ]\w")
PROMPT = re.compile(r"[ ]*+(?:>>> |\$ |In \[|PS [A-Z]:|[\w-]++@[\w.-]++(?::[^\s$#]*+)?[$#] )")
EXCEPTION = re.compile(r"[\w.]++(?:(?<=Error)|(?<=Exception)): ")
#: A keyword and value of YAML, whose keyword is no English title.
YAML = re.compile(r"(?P<indent>[ ]*+)(?:- )?(?P<key>[a-z_][\w.-]*+):(?P<value>[ ].*)?$")
YAML_ITEM = re.compile(r"[ ]*+- \S")
HUNK = re.compile(r"@@ -\d++(?:,(?P<before>\d++))? \+\d++(?:,(?P<after>\d++))? @@")
#: A row of comma-separated values without a space behind a comma.
CSV = re.compile(r"(?:\"[^\"]*+\"|[^\s,\"][^,\"]*+|)(?:,(?:\"[^\"]*+\"|[^\s,\"][^,\"]*+|)){2,}$")
CSV_HEADER = re.compile(r"[A-Za-z_][\w .()%-]*+(?:,[A-Za-z_][\w .()%-]*+){2,}$")
STRINGS = re.compile(r"\"[^\"]*+\"|'[^']*+'")
#: Four words in a row, as only language has them.
#: It begins where a word does: a search would else read a long word once for each of its letters.
PROSE = re.compile(r"(?<![^\W\d_])(?:[^\W\d_]{2,}+[,;:']?[ ]++){3}[^\W\d_]{2,}")
NOT_ASCII = re.compile(r"[^\W\d_A-Za-z]")
