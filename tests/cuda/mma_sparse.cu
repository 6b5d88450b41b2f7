// C = A · B with A 2:4: kept (m × k/2, f16) holds the two kept of every four elements of a row, and
// codes (m × k/16, 16 bits) says which; B comes by columns (n × k, f16), C in f32 by rows.
// One warp to a block, 16 × 8 of C; m, n, k are multiples of 16, 8, 64.

static __device__ unsigned pair(const unsigned short *p) {
    return *(const unsigned *)p;
}

template <int SELECTOR>
static __device__ void mma_sp(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[4],
                              unsigned meta) {
    asm volatile("mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9, %10, %11}, {%0, %1, %2, %3}, "
                 "%12, %13;"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]),
                   "r"(b[3]), "r"(meta), "n"(SELECTOR));
}

extern "C" __global__ void __launch_bounds__(32)
    mma_sparse(const unsigned short *kept, const unsigned short *codes, const unsigned short *b,
               float *c, unsigned n, unsigned k) {
    unsigned group = threadIdx.x / 4, t = threadIdx.x % 4;
    unsigned row = blockIdx.y * 16 + group, col = blockIdx.x * 8 + group;
    const unsigned short *upper = kept + (size_t)row * (k / 2), *lower = upper + 8 * (k / 2);
    const unsigned short *of_b = b + (size_t)col * k;
    float acc[4] = {};
    for (unsigned k0 = 0; k0 < k; k0 += 64) {
        // Lane t of four holds the codes of columns 16t..16t+16: selector 0 takes lanes 0 and 1, for
        // the first 32 columns, and selector 1 takes lanes 2 and 3.
        unsigned at = row * (k / 16) + k0 / 16 + t;
        unsigned meta = codes[at] | (unsigned)codes[at + 8 * (k / 16)] << 16;
#pragma unroll
        for (unsigned half = 0; half < 2; half++) {
            unsigned ak = (k0 + 32 * half) / 2 + 2 * t, bk = k0 + 32 * half + 2 * t;
            unsigned af[4] = {pair(upper + ak), pair(lower + ak), pair(upper + ak + 8),
                              pair(lower + ak + 8)};
            unsigned bf[4] = {pair(of_b + bk), pair(of_b + bk + 8), pair(of_b + bk + 16),
                              pair(of_b + bk + 24)};
            if (half == 0)
                mma_sp<0>(acc, af, bf, meta);
            else
                mma_sp<1>(acc, af, bf, meta);
        }
    }
    float *to = c + (size_t)row * n + blockIdx.x * 8 + 2 * t;
    *(float2 *)to = make_float2(acc[0], acc[1]);
    *(float2 *)(to + 8 * (size_t)n) = make_float2(acc[2], acc[3]);
}
