"""What the files of a tokens product are called."""

#: What is known of all parts: counts, what a trainer must know, and the names of the parts.
TOKENS_FILE = "tokens.json"
#: Folder of the tokenizer, with the chat template that is learnt.
TOKENIZER_FOLDER = "tokenizer"
