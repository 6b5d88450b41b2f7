// Sums of slices: block b leaves in sums[b] the sum of the elements that its threads stride over.
// Within a warp by shuffles, between the warps of a block through shared memory.

extern "C" __global__ void block_sum(const float *x, float *sums, unsigned n) {
    __shared__ float of_warp[32];
    float sum = 0.0f;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        sum += x[i];

    for (int offset = 16; offset > 0; offset /= 2)
        sum += __shfl_down_sync(0xFFFFFFFF, sum, offset);
    unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    if (lane == 0)
        of_warp[warp] = sum;
    __syncthreads();

    if (warp == 0) {
        sum = lane < blockDim.x / 32 ? of_warp[lane] : 0.0f;
        for (int mask = 16; mask > 0; mask /= 2)
            sum += __shfl_xor_sync(0xFFFFFFFF, sum, mask);
        if (lane == 0)
            sums[blockIdx.x] = sum;
    }
}
