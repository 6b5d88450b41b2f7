"""What Hugging Face's own readers make of our files; exits with 1 if they disagree.

    pip install torch transformers safetensors compressed-tensors==0.12.2
    quickpick prune MODEL --method magnitude --out PRUNED
    quickpick convert PRUNED --to bitmask --out BITMASK
    quickpick eval PRUNED --text TEXT --context 256 --windows 4 --json > ours.json
    python3 benches/pruning/foreign.py PRUNED BITMASK TEXT ours.json

compressed-tensors has dropped the format; 0.12.2 still reads it.
"""

import json
import math
import sys

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

CONTEXT, WINDOWS = 256, 4


def perplexity(folder, text):
    """Over the windows that `quickpick eval` takes; and what transformers misses or finds too much."""
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, dtype=torch.float32
    )
    ids = AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False).input_ids
    whole = len(ids) // CONTEXT
    starts = [i * whole // WINDOWS * CONTEXT for i in range(WINDOWS)]
    with torch.no_grad():
        rows = [torch.tensor([ids[s : s + CONTEXT]]) for s in starts]
        losses = [model(row, labels=row).loss.item() for row in rows]
    return math.exp(sum(losses) / WINDOWS), {key: found for key, found in info.items() if found}


def decompressed(pruned, bitmask):
    """Tensors, and how many of them are not the pruned checkpoint's, bit for bit."""
    from compressed_tensors.compressors.sparse_compressors import Sparse24BitMaskCompressor
    from compressed_tensors.config import Sparse24BitMaskConfig

    dense = safe_open(f"{pruned}/model.safetensors", "pt")
    tensors = list(Sparse24BitMaskCompressor(config=Sparse24BitMaskConfig()).decompress(bitmask))
    name = lambda n: n if n in dense.keys() else f"{n}.weight"
    data = lambda d: d["weight"] if isinstance(d, dict) else d
    wrong = sum(not torch.equal(data(d), dense.get_tensor(name(n))) for n, d in tensors)
    return len(tensors), wrong + abs(len(tensors) - len(dense.keys()))


def main(pruned, bitmask, text, report):
    ours = json.load(open(report))["evaluated"]["estimate"]["value"]
    theirs, amiss = perplexity(pruned, open(text).read())
    count, wrong = decompressed(pruned, bitmask)
    print(f"transformers: perplexity {theirs:.3f}, ours {ours:.3f}; amiss: {amiss or 'nothing'}")
    print(f"compressed-tensors: {count} tensors decompressed, {wrong} differ")
    return int(abs(theirs / ours - 1) > 0.005 or bool(amiss) or wrong > 0 or count == 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
