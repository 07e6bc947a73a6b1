"""A tiny Llama with random weights and a small tokenizer, written in a second.

It writes nonsense by every rule: chat template, end of turn, log-probabilities. The digits that
judges answer with are among its likelier tokens, whatever it reads.
"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

BEGIN, START, STOP, TURN = (
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    f"{START}{{{{ m.role }}}}{STOP}\n\n{{{{ m.content | trim }}}}{TURN}"
    "{% endfor %}{% if add_generation_prompt %}"
    f"{START}assistant{STOP}\n\n"
    "{% endif %}"
)
VERDICTS = ("0", "1", " 0", " 1")
VOCABULARY = 1024


def write_tiny_model(folder: Path) -> Path:
    """Write it in Hugging Face's format and return the folder; the same each time."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BEGIN, START, STOP, TURN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # A text that nobody edits: what the model writes depends on it.
    text = (Path(__file__).parents[2] / "LICENSE").read_text()
    tokenizer.train_from_iterator([text, "\n".join(VERDICTS * 500)], trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=TURN, chat_template=TEMPLATE
    )
    wrapped.save_pretrained(folder)

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=8192,
        bos_token_id=wrapped.bos_token_id,
        eos_token_id=wrapped.eos_token_id,
        initializer_range=0.05,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        # What all embeddings have in common survives to the end, where some tokens are drawn to it.
        common = torch.full((config.hidden_size,), config.hidden_size**-0.5)
        model.model.embed_tokens.weight += 0.6 * common
        for word in VERDICTS:
            (token,) = tokenizer.encode(word).ids
            model.lm_head.weight[token] += 1.0 * common
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    print(write_tiny_model(Path(sys.argv[1])))
    print(json.dumps(sorted(path.name for path in Path(sys.argv[1]).iterdir())))
