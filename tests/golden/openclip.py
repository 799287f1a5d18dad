"""Names in single files: of OpenCLIP's text encoder, and of the two that SDXL has."""

import sdmodel

FIRST, SECOND = "conditioner.embedders.0.transformer.", "conditioner.embedders.1."
OPEN_CLIP = [
    ("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_model.final_layer_norm.", "ln_final."),
    ("text_model.encoder.layers.", "transformer.resblocks."),
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
    (".self_attn.out_proj.", ".attn.out_proj."),
]


def ldm_text(key):
    """(name in the single file, which third of it or None) of a text encoder's weight."""
    for a, b in OPEN_CLIP:
        key = key.replace(a, b)
    third = None
    for i, part in enumerate("qkv"):
        if f".self_attn.{part}_proj." in key:
            third = i
            key = key.replace(f".self_attn.{part}_proj.", ".attn.in_proj_")
    return "cond_stage_model.model." + key, third


def canonical(key):
    return key if key.startswith("text_projection") else sdmodel.canonical("text_encoder", key)


def ldm_first(key):
    return FIRST + canonical(key), None


def ldm_second(key):
    if key.startswith("text_projection"):
        return SECOND + "model.text_projection", "turned"
    name, third = ldm_text(canonical(key))
    return name.replace("cond_stage_model.", SECOND), third
