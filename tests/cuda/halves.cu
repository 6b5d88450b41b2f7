// Two 16-bit floats at a time. For each pair i: h[i] = max(a · b + h[i], 0), then halved where it is
// above the limit; g[i] = the same of bf16, without the limit; wide[i] = the sum of both halves of
// h[i] and g[i], in f32.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

extern "C" __global__ void halves(const __half2 *a, const __half2 *b, __half2 *h,
                                  const __nv_bfloat162 *p, const __nv_bfloat162 *q,
                                  __nv_bfloat162 *g, float2 *wide, float limit, unsigned n) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    __half2 x = __hmax2(__hfma2(a[i], b[i], h[i]), __float2half2_rn(0.0f));
    __half2 above = __hgt2(x, __float2half2_rn(limit)); // 1.0 where it is, else 0.0
    x = __hsub2(x, __hmul2(above, __hmul2(x, __float2half2_rn(0.5f))));
    h[i] = x;

    __nv_bfloat162 zero = __float2bfloat162_rn(0.0f);
    __nv_bfloat162 y = __hmax2(__hfma2(p[i], q[i], g[i]), zero);
    g[i] = y;

    float2 xs = __half22float2(x), ys = __bfloat1622float2(y);
    wide[i] = make_float2(xs.x + xs.y, ys.x + ys.y);
}
