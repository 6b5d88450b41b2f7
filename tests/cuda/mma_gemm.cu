// C = A · B on tensor units: A (m × k) and B (k × n) in f16, row by row; C in f32.
// m and n are multiples of 64, k of 32. Four warps to a block, 32 × 32 of C each; the next K tile is
// copied while the present one is multiplied.

#include <cuda_fp16.h>

const unsigned TM = 64, TN = 64, TK = 32, STAGES = 2;
// Eight elements of padding: the eight rows that a matrix of ldmatrix takes lie in all 32 banks.
const unsigned A_ROW = TK + 8, B_ROW = TN + 8;

static __device__ unsigned shared_address(const void *p) {
    return (unsigned)__cvta_generic_to_shared(p);
}

static __device__ void copy16(void *to, const void *from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from)
                 : "memory");
}

static __device__ void ldmatrix(unsigned (&r)[4], const void *p) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(p))
                 : "memory");
}

static __device__ void ldmatrix_trans(unsigned (&r)[4], const void *p) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(p))
                 : "memory");
}

static __device__ void mma(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

extern "C" __global__ void __launch_bounds__(128)
    mma_gemm(const __half *a, const __half *b, float *c, unsigned n, unsigned k) {
    __shared__ __align__(16) __half at[STAGES][TM][A_ROW], bt[STAGES][TK][B_ROW];
    unsigned thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    unsigned row0 = blockIdx.y * TM, col0 = blockIdx.x * TN;

    auto fetch = [&](unsigned stage, unsigned k0) {
#pragma unroll
        for (unsigned i = thread; i < TM * TK / 8; i += 128) {
            unsigned row = i / (TK / 8), col = i % (TK / 8) * 8;
            copy16(&at[stage][row][col], a + (size_t)(row0 + row) * k + k0 + col);
        }
#pragma unroll
        for (unsigned i = thread; i < TK * TN / 8; i += 128) {
            unsigned row = i / (TN / 8), col = i % (TN / 8) * 8;
            copy16(&bt[stage][row][col], b + (size_t)(k0 + row) * n + col0 + col);
        }
    };

    float acc[2][4][4] = {};
    unsigned m0 = warp / 2 * 32, n0 = warp % 2 * 32;
    fetch(0, 0);
    asm volatile("cp.async.commit_group;" ::: "memory");
    for (unsigned t = 0; t < k / TK; t++) {
        if ((t + 1) * TK < k)
            fetch((t + 1) % STAGES, (t + 1) * TK);
        asm volatile("cp.async.commit_group;" ::: "memory");
        asm volatile("cp.async.wait_group 1;" ::: "memory");
        __syncthreads();
#pragma unroll
        for (unsigned kk = 0; kk < TK; kk += 16) {
            unsigned af[2][4], bf[2][4];
#pragma unroll
            for (unsigned i = 0; i < 2; i++) {
                ldmatrix(af[i], &at[t % STAGES][m0 + 16 * i + lane % 16][kk + lane / 16 * 8]);
                ldmatrix_trans(bf[i], &bt[t % STAGES][kk + lane % 16][n0 + 16 * i + lane / 16 * 8]);
            }
#pragma unroll
            for (unsigned i = 0; i < 2; i++)
#pragma unroll
                for (unsigned j = 0; j < 4; j++)
                    mma(acc[i][j], af[i], bf[j / 2][j % 2 * 2], bf[j / 2][j % 2 * 2 + 1]);
        }
        __syncthreads();
    }

    unsigned group = lane / 4, pair = lane % 4 * 2;
#pragma unroll
    for (unsigned i = 0; i < 2; i++)
#pragma unroll
        for (unsigned j = 0; j < 4; j++) {
            float *to = c + (size_t)(row0 + m0 + 16 * i + group) * n + col0 + n0 + 8 * j + pair;
            *(float2 *)to = make_float2(acc[i][j][0], acc[i][j][1]);
            *(float2 *)(to + 8 * (size_t)n) = make_float2(acc[i][j][2], acc[i][j][3]);
        }
}
