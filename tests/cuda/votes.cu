// Each warp moves the kept elements of its 32, those with a bit of `mask`, to the front of its part of
// `out`, in order, and behind them the first of the kept, once per element that was not. counts[warp]
// holds how many were kept, plus 0x100 if any element is odd, plus 0x200 if all are below the limit.
// A warp without a kept element leaves its part of `out` alone.

extern "C" __global__ void votes(const unsigned *x, unsigned *out, unsigned *counts, unsigned mask,
                                 unsigned limit) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32;
    unsigned value = x[i];
    bool keep = (value & mask) != 0;
    unsigned kept = __ballot_sync(0xFFFFFFFF, keep);
    bool odd = __any_sync(0xFFFFFFFF, value & 1);
    bool below = __all_sync(0xFFFFFFFF, value < limit);
    unsigned before = __popc(kept & ((1u << lane) - 1)), count = __popc(kept);
    unsigned *part = out + (i - lane);
    if (keep) {
        part[before] = value;
    } else if (kept != 0) {
        // only these lanes are here: they learn it from each other's mask, and ask a lane among them
        unsigned rest = ~kept;
        unsigned first = x[(i - lane) + __ffs(kept) - 1];
        part[count + lane - before] = __shfl_sync(rest, first, __ffs(rest) - 1);
    }
    if (lane == 0)
        counts[i / 32] = count | (odd ? 0x100 : 0) | (below ? 0x200 : 0);
}
