// C = A · B in f32, any m, n, k: tiles of both operands in shared memory, one element of C to a
// thread, zeros beyond the edges. Blocks are 16 × 16 threads.

const unsigned TILE = 16;

extern "C" __global__ void matmul(const float *a, const float *b, float *c, unsigned m, unsigned n,
                                  unsigned k) {
    __shared__ float at[TILE][TILE], bt[TILE][TILE];
    unsigned x = threadIdx.x, y = threadIdx.y;
    unsigned row = blockIdx.y * TILE + y, col = blockIdx.x * TILE + x;
    float sum = 0.0f;
    for (unsigned k0 = 0; k0 < k; k0 += TILE) {
        at[y][x] = row < m && k0 + x < k ? a[row * k + k0 + x] : 0.0f;
        bt[y][x] = k0 + y < k && col < n ? b[(k0 + y) * n + col] : 0.0f;
        __syncthreads();
#pragma unroll
        for (unsigned i = 0; i < TILE; i++)
            sum = fmaf(at[y][i], bt[i][x], sum);
        __syncthreads();
    }
    if (row < m && col < n)
        c[row * n + col] = sum;
}
