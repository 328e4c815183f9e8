"""The nodes of a recipe for a pair of languages, as TOML: the pipeline of the recipe hala.

Values that the recipe hala explains are its own: learning rate, threshold, units, prompts.
"""

from collections.abc import Iterator

from hala_hpc.commands.new_recipe.pair_request import PAPER_TEACHER, PairRequest
from hala_hpc.commands.new_recipe.pair_sizes import GLOBAL_BATCH_SIZE, MAX_ROW_TOKENS, PairSizes

#: Files of the user where the hub has no pairs, in the folder of the launch.
OWN_PAIRS, OWN_TEST = "pairs-{code}.jsonl", "test-pairs-{code}.jsonl"

JUDGE = '''\
[pairs-judged]
stage = "filter"
model = "Qwen/Qwen2.5-3B-Instruct"     # the judge of the paper
corpus = "@pairs"
prompt = """
You judge translations. Accept a pair when the translation says what the source says, in fluent \\
and complete sentences. Reject it when meaning is missing, added or wrong, or when either side is \\
in another language.

Source: {source}

Translation: {target}

Answer with one word, accept or reject."""
units = 64
'''


def recipe_nodes(request: PairRequest, sizes: PairSizes) -> str:
    """All tables of the recipe, in the order of the pipeline."""
    parts = [
        pairs_nodes(request),
        resources("pairs-judged", request, JUDGE),
        *([teacher_nodes(request, sizes)] if sizes.has_teacher else []),
        translator_nodes(request, sizes),
        corpus_nodes(request),
        tuned_nodes(request, sizes),
        score_nodes(request, sizes),
    ]
    return "\n".join(parts)


def translator_prompt(request: PairRequest) -> str:
    """The prompt of the translator, in the form of the paper's."""
    return f'"Translate everything that follows into {request.target.name}:\\n\\n{{text}}"'


def pairs_nodes(request: PairRequest) -> str:
    """Pairs of people: of OPUS-100, else of files of the user."""
    languages = f'languages = ["{request.source.code}", "{request.target.code}"]'
    if request.opus:
        data = ['data = "Helsinki-NLP/opus-100"', f'subset = "{request.opus}"']
        train, test = [*data, 'split = "train"'], ['split = "test"']
    else:
        code = request.target.code
        train = [f'data = "{OWN_PAIRS.format(code=code)}"']
        test = [f'data = "{OWN_TEST.format(code=code)}"']
    return "\n".join(
        [
            "# ---- pairs: judged, for the translator; and held out, to test it ----",
            "",
            *["[pairs]", 'stage = "prepare"', *train, 'rows = "opus"', languages, "units = 16", ""],
            *["[test-pairs]", 'like = "pairs"', *test, "units = 1", ""],
        ]
    )


def resources(node: str, request: PairRequest, table: str) -> str:
    """The table of a node that generates, with one worker for each GPU."""
    return (
        f"{table}[{node}.resources]\nworkers = {request.gpus.count}\ngpus_per_node = 1\n"
        "cpus_per_rank = 8\nmem_gb = 64\n"
    )


def teacher_nodes(request: PairRequest, sizes: PairSizes) -> str:
    """Pairs that the teacher writes, from English instructions."""
    gpus = sizes.teacher_gpus
    lines = ["# ---- the teacher translates instructions: pairs for the translator ----", ""]
    model = f'"{request.teacher}"'
    if request.teacher == PAPER_TEACHER:
        lines += ["[teacher]", 'stage = "quantize"', f"model = {model}", 'scheme = "FP8_DYNAMIC"']
        lines += ["[teacher.resources]", "cpus_per_rank = 16", "mem_gb = 64", ""]
        model = '"@teacher"'
    lines += [
        *["[instructions]", 'stage = "prepare"', 'data = "Open-Orca/OpenOrca"'],
        *['rows = "openorca"', "limit = 405000", "units = 64", ""],
        *["[teacher-pairs]", 'stage = "translate"', f"model = {model}"],
        *['corpus = "@instructions"', f'source = "{request.source.code}"'],
        *[f'target = "{request.target.code}"', 'roles = ["user", "assistant"]'],
        f'prompt = "Translate from {request.source.name} to {request.target.name}: {{text}}"',
        *['prompt_style = "chat"', "units = 1024", *check_table("teacher-pairs", request)],
        *["[teacher-pairs.engine]", f"tensor_parallel_size = {gpus}", "max_model_len = 8192"],
        *["[teacher-pairs.resources]", f"workers = {max(1, request.gpus.count // gpus)}"],
        *[f"gpus_per_node = {gpus}", "cpus_per_rank = 16", "mem_gb = 128", ""],
    ]
    return "\n".join(lines)


def check_table(node: str, request: PairRequest) -> Iterator[str]:
    """Checks that differ from those for Arabic."""
    if not request.target.has_known_lengths:
        yield f"[{node}.checks]"
        yield 'disabled = ["length_ratio"]    # its bounds are those of alphabets'


def training(node: str, tokens: str, request: PairRequest, sizes: PairSizes) -> list[str]:
    """The table of a training."""
    gpus = request.gpus
    return [
        *[f"[{node}]", 'stage = "sft"', f'model = "{request.base}"', f'tokens = "@{tokens}"'],
        *["learning_rate = 2e-5", f"global_batch_size = {GLOBAL_BATCH_SIZE}"],
        f"zero_stage = {sizes.zero_stage}",
        f"gradient_checkpointing = {str(sizes.gradient_checkpointing).lower()}",
        *[f"[{node}.resources]", f"nodes = {gpus.nodes}", f"ranks_per_node = {gpus.per_node}"],
        *[f"gpus_per_node = {gpus.per_node}", f"mem_gb = {64 * gpus.per_node}"],
        *["timeout_min = 1440", ""],
    ]


def translator_nodes(request: PairRequest, sizes: PairSizes) -> str:
    """The translator, and its scores on the held-out pairs."""
    train = ["pairs-judged", *(["teacher-pairs"] if sizes.has_teacher else [])]
    names = ", ".join(f'"@{name}"' for name in train)
    prompt = translator_prompt(request)
    lines = [
        *["# ---- the translator ----", "", "[translator-tokens]", 'stage = "tokenize"'],
        *[f'model = "{request.base}"', f"train = [{names}]", 'objective = "translate"'],
        *[f"prompt = {prompt}", 'prompt_style = "chat"', "max_length = 2048", "units = 16", ""],
        *training("translator", "translator-tokens", request, sizes),
        *["[translator-scores]", 'stage = "evaluate"', 'translation = "@test-pairs"'],
        *[f"prompt = {prompt}", "[translator-scores.models]", f'base = "{request.base}"'],
        *['translator = "@translator"', "[translator-scores.resources]", "gpus_per_node = 1", ""],
    ]
    return "\n".join(lines)


def corpus_nodes(request: PairRequest) -> str:
    """English instructions, translated."""
    lines = [
        *["# ---- instructions, translated ----", "", "[english]", 'stage = "prepare"'],
        *['data = "allenai/tulu-3-sft-mixture"', 'rows = "messages"', 'only_languages = "en"'],
        *["units = 64", "[english.drop]", 'source = ["ai2-adapt-dev/tulu_v3.9_aya_100k"]', ""],
        *["[translated]", 'stage = "translate"', 'model = "@translator"', 'corpus = "@english"'],
        *[f'source = "{request.source.code}"', f'target = "{request.target.code}"'],
        *[f"prompt = {translator_prompt(request)}", 'prompt_style = "chat"', "units = 512"],
        *check_table("translated", request),
        *["[translated.engine]", "max_model_len = 8192", ""],
    ]
    return resources("translated", request, "\n".join(lines)) + "\n"


def tuned_nodes(request: PairRequest, sizes: PairSizes) -> str:
    """The model that is tuned on the translated instructions, merged with its base."""
    packing = (
        "false       # LFM2's convolutions mix packed rows" if "LFM2" in request.base else "true"
    )
    lines = [
        *["# ---- the model: tuned, merged half and half with its base ----", "", "[tokens]"],
        *['stage = "tokenize"', f'model = "{request.base}"', 'train = "@translated"'],
        *['objective = "chat"', f"max_length = {MAX_ROW_TOKENS}", f"packing = {packing}"],
        *["units = 64", "", *training("tuned", "tokens", request, sizes)],
        *["[merged]", 'stage = "merge"', f'base = "{request.base}"', 'model = "@tuned"'],
        *["t = 0.5", ""],
    ]
    return "\n".join(lines)


def score_nodes(request: PairRequest, sizes: PairSizes) -> str:
    """Benchmarks in the language and in English, and the report."""
    own = ["arabic", "linguistic"] if request.target.code == "ar" else request.target.tasks
    tasks = ", ".join(f'"{task}"' for task in (*own, "mmlu"))
    nodes = ["pairs-judged", "translator-scores", "translated", "tuned", "merged", "scores"]
    named = ", ".join(f'"@{node}"' for node in ["teacher-pairs", *nodes][not sizes.has_teacher :])
    lines = [
        *["# ---- scores: in the language, and in English, which tuning must not cost ----", ""],
        *["[scores]", 'stage = "evaluate"', f"tasks = [{tasks}]", "chat_template = true"],
        *["num_fewshot = 0             # the examples of belebele are test questions"],
        *["[scores.models]", f'base = "{request.base}"', 'tuned = "@tuned"'],
        *['merged = "@merged"', "[scores.resources]", "gpus_per_node = 1", ""],
        *["[report]", f'title = "{request.target.name} from {request.source.name}"'],
        *[f"nodes = [{named}]"],
    ]
    return "\n".join(lines) + "\n"
