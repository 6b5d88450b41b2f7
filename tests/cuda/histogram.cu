// bins[v] += how often byte v occurs in x; *most = the greatest byte, where it held less. A block counts
// in shared memory first. The bins come with what they held before. Blocks have 128 threads.

extern "C" __global__ void histogram(const unsigned char *x, unsigned n, unsigned *bins,
                                     unsigned *most) {
    __shared__ unsigned count[256];
    for (unsigned v = threadIdx.x; v < 256; v += blockDim.x)
        count[v] = 0;
    __syncthreads();

    unsigned greatest = 0;
    unsigned stride = gridDim.x * blockDim.x;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += stride) {
        atomicAdd(&count[x[i]], 1u);
        greatest = max(greatest, (unsigned)x[i]);
    }
    atomicMax(most, greatest);
    __syncthreads();

    for (unsigned v = threadIdx.x; v < 256; v += blockDim.x)
        if (count[v] != 0)
            atomicAdd(&bins[v], count[v]);
}
