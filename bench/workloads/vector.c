// SPDX-License-Identifier: GPL-2.0-or-later
/* Floating point and SIMD: AES-NI, SSE2 integers, AVX2 with FMA, scalar doubles, x87. */
#include "workloads.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

static uint64_t bits(double d)
{
	uint64_t u;

	memcpy(&u, &d, sizeof(u));
	return u;
}

static uint64_t aes(uint64_t n)
{
	__m128i a = _mm_set_epi64x(1, 2), b = _mm_set_epi64x(3, 4), k = _mm_set_epi64x(5, 6);

	for (uint64_t i = 0; i < n; i++) {
		a = _mm_aesenc_si128(a, k);
		b = _mm_aesdec_si128(b, a);
		k = _mm_xor_si128(k, b);
	}
	return (uint64_t)_mm_extract_epi64(_mm_xor_si128(a, b), 0);
}

static uint64_t sse2(uint64_t n)
{
	static int16_t v[1024] __attribute__((aligned(16)));
	__m128i sum = _mm_setzero_si128();
	uint64_t s = 3;

	for (unsigned i = 0; i < 1024; i++)
		v[i] = (int16_t)next_random(&s);
	while (n--)
		for (unsigned i = 0; i < 1024; i += 8) {
			__m128i x = _mm_load_si128((__m128i *)(v + i));

			sum = _mm_add_epi32(sum, _mm_madd_epi16(x, _mm_adds_epi16(x, sum)));
		}
	return (uint64_t)_mm_cvtsi128_si64(sum);
}

static uint64_t matmul(uint64_t n)
{
	enum { N = 64 };
	static double a[N][N], b[N][N], c[N][N];
	uint64_t s = 4;

	for (unsigned i = 0; i < N * N; i++) {
		a[i / N][i % N] = (double)(next_random(&s) >> 40);
		b[i / N][i % N] = (double)(next_random(&s) >> 50);
	}
	while (n--)
		for (unsigned i = 0; i < N; i++)
			for (unsigned j = 0; j < N; j += 4) {
				__m256d acc = _mm256_loadu_pd(&c[i][j]);

				for (unsigned k = 0; k < N; k++)
					acc = _mm256_fmadd_pd(_mm256_broadcast_sd(&a[i][k]), _mm256_loadu_pd(&b[k][j]), acc);
				_mm256_storeu_pd(&c[i][j], acc);
			}
	return bits(c[3][5]) ^ bits(c[63][62]);
}

/* Bodies under gravity, in scalar doubles. */
static uint64_t bodies(uint64_t n)
{
	double x[5] = { 0, 1, 2, 3, 4 }, y[5] = { 0, 2, 1, 4, 3 }, u[5] = { 0 }, w[5] = { 0 };

	while (n--) {
		for (unsigned i = 0; i < 5; i++)
			for (unsigned k = 0; k < 5; k++) {
				double dx = x[k] - x[i], dy = y[k] - y[i], d = dx * dx + dy * dy + 0.01;
				double f = 0.001 / (d * sqrt(d));

				u[i] += dx * f;
				w[i] += dy * f;
			}
		for (unsigned i = 0; i < 5; i++) {
			x[i] += u[i];
			y[i] += w[i];
		}
	}
	return bits(x[2]) ^ bits(y[3]);
}

static uint64_t x87(uint64_t n)
{
	long double x = 0.5L, sum = 0;

	for (uint64_t i = 0; i < n; i++) {
		x = 3.9L * x * (1 - x);
		sum += x / (long double)(i + 1);
	}
	return bits((double)sum);
}

const struct workload vector_workloads[] = {
	{ "vector", "aes", aes, 10000000, NULL },  { "vector", "sse2", sse2, 60000, NULL },	 { "vector", "matmul", matmul, 900, NULL },
	{ "vector", "bodies", bodies, 450000, NULL }, { "vector", "x87", x87, 6000000, NULL }, { 0 },
};
