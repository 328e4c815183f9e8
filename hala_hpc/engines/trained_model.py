"""What a training leaves: the model folder, and the figures beside it."""

from typing import Any

from hala_hpc.core.stage import Out
from hala_hpc.data.carry_over import carry_config, copy_tokenizer
from hala_hpc.engines.training import Training


def save_model(trainer: Any, training: Training, out: Out) -> None:
    """Write weights, config, tokenizer and chat template; every rank must call it."""
    import torch

    folder = out.folder(0)
    # Under ZeRO-3 the ranks send their parts of the weights here.
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if out.rank != 0:
        return
    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    tied = set(model._tied_weights_keys or ()) if model.config.tie_word_embeddings else set()
    dtype = getattr(torch, training.dtype)
    kept = {name: tensor.to(dtype) for name, tensor in weights.items() if name not in tied}
    model.config.dtype = dtype
    model.save_pretrained(folder, state_dict=kept)
    carry_config(training.model, folder)
    copy_tokenizer(training.model, folder)
    # The template that was learnt may have been supplied to a model that had none.
    copy_tokenizer(training.tokenizer, folder)


def figures(trainer: Any, training: Training) -> dict[str, Any]:
    """What the training did: steps, tokens, the loss curve, and which engine really ran."""
    state = trainer.state
    curve = [
        {
            "step": entry["step"],
            "loss": round(entry["loss"], 5),
            "learning_rate": entry["learning_rate"],
            "tokens_per_s": entry.get("tokens_per_s"),
        }
        for entry in state.log_history
        if "loss" in entry
    ]
    held_out = [
        {"step": entry["step"], "loss": round(entry["eval_loss"], 5)}
        for entry in state.log_history
        if "eval_loss" in entry
    ]
    engine = trainer.deepspeed
    # Asked of the engine itself: accelerate can leave DeepSpeed out without a word.
    assert (engine is not None) == (training.settings.zero_stage > 0), "another engine ran"
    stage = engine.zero_optimization_stage() if engine else None
    return {
        "steps": state.global_step,
        "epochs": round(state.epoch or 0.0, 4),
        "tokens_trained": int(state.num_input_tokens_seen),
        "engine": f"deepspeed zero-{stage}" if stage is not None else "torch",
        "dtype": training.dtype,
        "ranks": trainer.args.world_size,
        "loss_first": curve[0]["loss"],
        "loss_last": curve[-1]["loss"],
        "curve": curve,
        "held_out_curve": held_out,
    }
