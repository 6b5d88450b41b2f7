// y = factor · x on Hopper: bulk copies bring tiles of 1024 floats into two shared buffers, each with a
// barrier that counts bytes; another bulk copy takes the scaled tile away. Blocks have 128 threads,
// n is a multiple of 1024.

const unsigned TILE = 1024, STAGES = 2;

static __device__ unsigned shared_address(const void *p) {
    return (unsigned)__cvta_generic_to_shared(p);
}

static __device__ void fetch(float *to, const float *from, unsigned long long *barrier) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                     shared_address(barrier)),
                 "r"(TILE * 4)
                 : "memory");
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1], %2, [%3];" ::"r"(shared_address(to)),
                 "l"(__cvta_generic_to_global(from)), "r"(TILE * 4), "r"(shared_address(barrier))
                 : "memory");
}

static __device__ void wait(unsigned long long *barrier, unsigned parity) {
    asm volatile("{\n\t"
                 ".reg .pred done;\n"
                 "again:\n\t"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n\t"
                 "@!done bra again;\n\t"
                 "}" ::"r"(shared_address(barrier)),
                 "r"(parity)
                 : "memory");
}

extern "C" __global__ void __launch_bounds__(128)
    bulk_scale(const float *x, float *y, float factor, unsigned n) {
    __shared__ __align__(128) float tiles[STAGES][TILE];
    __shared__ __align__(8) unsigned long long full[STAGES];
    unsigned count = n / TILE, thread = threadIdx.x;
    if (thread == 0) {
        for (unsigned s = 0; s < STAGES; s++)
            asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(&full[s]))
                         : "memory");
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();

    unsigned turn = 0;
    if (thread == 0 && blockIdx.x < count)
        fetch(tiles[0], x + (size_t)blockIdx.x * TILE, &full[0]);
    for (unsigned tile = blockIdx.x; tile < count; tile += gridDim.x, turn++) {
        unsigned stage = turn % STAGES, next = tile + gridDim.x;
        if (thread == 0 && next < count) {
            // the tile before last has left the buffer that the next one takes
            asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
            fetch(tiles[stage ^ 1], x + (size_t)next * TILE, &full[stage ^ 1]);
        }
        wait(&full[stage], turn / STAGES & 1);
        for (unsigned i = thread; i < TILE; i += 128)
            tiles[stage][i] *= factor;
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        __syncthreads();
        if (thread == 0) {
            asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(
                             __cvta_generic_to_global(y + (size_t)tile * TILE)),
                         "r"(shared_address(tiles[stage])), "r"(TILE * 4)
                         : "memory");
            asm volatile("cp.async.bulk.commit_group;" ::: "memory");
        }
    }
    if (thread == 0)
        asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}
