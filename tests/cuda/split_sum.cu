// y[row] = Σ x[row][·], each row in gridDim.x pieces. A block leaves its piece in `partial`; the last
// block of a row to arrive, by the row's counter, adds the pieces in order and sets the counter back.
// Blocks have 64 threads; cols is a multiple of gridDim.x.

extern "C" __global__ void split_sum(const float *x, float *partial, unsigned *counters, float *y,
                                     unsigned cols) {
    __shared__ float of_warp[2];
    __shared__ bool last;
    unsigned splits = gridDim.x, row = blockIdx.y, piece = cols / splits;
    const float *from = x + (size_t)row * cols + blockIdx.x * piece;
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < piece; i += 64)
        sum += from[i];
    for (int offset = 16; offset > 0; offset /= 2)
        sum += __shfl_down_sync(0xFFFFFFFF, sum, offset);
    if (threadIdx.x % 32 == 0)
        of_warp[threadIdx.x / 32] = sum;
    __syncthreads();

    if (threadIdx.x == 0) {
        partial[row * splits + blockIdx.x] = of_warp[0] + of_warp[1];
        __threadfence(); // the piece is visible before the count
        last = atomicAdd(&counters[row], 1u) == splits - 1;
    }
    __syncthreads();

    if (last && threadIdx.x == 0) {
        __threadfence(); // the count is seen before the pieces
        float total = 0.0f;
        for (unsigned s = 0; s < splits; s++)
            total += __ldcg(&partial[row * splits + s]);
        y[row] = total;
        counters[row] = 0;
    }
}
