// y = xᵀ: x is rows × cols, y is cols × rows. A tile goes through shared memory, whose rows have one
// word more than the tile, so that reading a column touches 32 banks. Blocks are 32 × 8 threads.

const unsigned TILE = 32, THREAD_ROWS = 8;

extern "C" __global__ void transpose(const unsigned *x, unsigned *y, unsigned rows, unsigned cols) {
    __shared__ unsigned tile[TILE][TILE + 1];
    unsigned col = blockIdx.x * TILE + threadIdx.x;
    for (unsigned j = threadIdx.y; j < TILE; j += THREAD_ROWS) {
        unsigned row = blockIdx.y * TILE + j;
        if (row < rows && col < cols)
            tile[j][threadIdx.x] = x[(size_t)row * cols + col];
    }
    __syncthreads();

    unsigned row = blockIdx.y * TILE + threadIdx.x;
    for (unsigned j = threadIdx.y; j < TILE; j += THREAD_ROWS) {
        unsigned col = blockIdx.x * TILE + j;
        if (row < rows && col < cols)
            y[(size_t)col * rows + row] = tile[threadIdx.x][j];
    }
}
