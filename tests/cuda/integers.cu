// Eight 64-bit words for each pair (a, b): division of both signs, products, bit counts, shifts across
// words, a CRC and a hash. b is never 0.

static __device__ unsigned crc32(unsigned long long word) {
    unsigned crc = 0xFFFFFFFF;
    for (int i = 0; i < 8; i++) {
        crc ^= (unsigned)(word >> (8 * i)) & 0xFF;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0u);
    }
    return ~crc;
}

static __device__ unsigned long long mix(unsigned long long h) {
    h ^= h >> 33;
    h *= 0xFF51AFD7ED558CCDull;
    h ^= h >> 29;
    h *= 0xC4CEB9FE1A85EC53ull;
    return h ^ h >> 32;
}

extern "C" __global__ void integers(const unsigned long long *a, const unsigned long long *b,
                                    unsigned long long *out, unsigned n) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    unsigned long long x = a[i], y = b[i];
    unsigned xl = (unsigned)x, xh = (unsigned)(x >> 32), yl = (unsigned)y;
    unsigned long long *to = out + 8 * (size_t)i;
    to[0] = x / y;
    to[1] = x % y;
    // even divisors with bit 1 set are never 0, nor −1, by which the least number has no quotient
    to[2] = (unsigned long long)((long long)x / (((long long)y >> 3 & ~1ll) | 2));
    to[3] = (unsigned long long)(xl / (yl | 1)) << 32 |
            (unsigned)((int)xh % (((int)yl >> 2 & ~1) | 2));
    to[4] = __umul64hi(x, y) ^ (unsigned long long)__mulhi((int)xl, (int)yl);
    to[5] = (unsigned long long)__popcll(x) | __clzll(x) << 8 | __popc(yl) << 16 | __clz(yl) << 24 |
            (unsigned long long)(__brev(xl) & 0xFFFF) << 32 | (unsigned long long)__ffs(xh) << 48;
    to[6] = (unsigned long long)__funnelshift_l(xl, xh, yl) << 32 | __funnelshift_r(xl, xh, yl);
    to[7] = mix(x + y) ^ crc32(x) ^ (unsigned long long)__byte_perm(xl, xh, yl & 0x7777) << 32;
}
