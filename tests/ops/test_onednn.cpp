#include <malloc.h>

#include <random>
#include <vector>

#include "core/float16.h"
#include "core/parallel.h"
#include "ops/matmul/onednn.h"
#include "tests/support/catch.h"
#include "tests/support/threads.h"

using namespace vitrine;

namespace {

/// Elements of either type behind one interface. Values are small integers, so that every product and sum is exact in
/// float and results are compared with ==.
struct Data {
  Dtype type;
  std::vector<float> f;
  std::vector<bf16> h;

  Data(Dtype t, int64_t size, uint32_t seed) : type(t) {
    std::mt19937 random(seed);
    for (int64_t i = 0; i < size; ++i) {
      const float x = float(int(random() % 9) - 4);
      f.push_back(x);
      h.push_back(bf16(x));
    }
  }
  float operator[](int64_t i) const { return type == Dtype::f32 ? f[size_t(i)] : float(h[size_t(i)]); }
  void* pointer() { return type == Dtype::f32 ? static_cast<void*>(f.data()) : h.data(); }
};

int64_t extent(const GemmDesc& d, const GemmOperand& x, int64_t rows, int64_t columns) {
  int64_t last = (rows - 1) * x.row + (columns - 1) * x.column;
  for (int i = 0; i < d.batch_dims; ++i) last += (d.batch_shape[size_t(i)] - 1) * x.batch[size_t(i)];
  return last + 1;
}

/// Runs `d` and compares every element of c's memory, gaps included, with plain loops.
bool is_exact(const GemmDesc& d, bool pack = false) {
  Data a(d.a.type, extent(d, d.a, d.m, std::max<int64_t>(d.k, 1)), 1);
  Data b(d.b.type, extent(d, d.b, std::max<int64_t>(d.k, 1), d.n), 2);
  Data bias(d.bias_type, d.n, 3), c(d.c.type, extent(d, d.c, d.m, d.n), 4), want = c;
  int64_t batches = 1;
  for (int i = 0; i < d.batch_dims; ++i) batches *= d.batch_shape[size_t(i)];
  for (int64_t g = 0; g < batches; ++g) {
    int64_t oa = 0, ob = 0, oc = 0, rest = g;
    for (int i = d.batch_dims - 1; i >= 0; --i) {
      const int64_t index = rest % d.batch_shape[size_t(i)];
      rest /= d.batch_shape[size_t(i)];
      oa += index * d.a.batch[size_t(i)];
      ob += index * d.b.batch[size_t(i)];
      oc += index * d.c.batch[size_t(i)];
    }
    for (int64_t i = 0; i < d.m; ++i)
      for (int64_t j = 0; j < d.n; ++j) {
        const int64_t at = oc + i * d.c.row + j * d.c.column;
        float sum = d.bias ? bias[j] : d.accumulate ? c[at] : 0;
        for (int64_t p = 0; p < d.k; ++p)
          sum += a[oa + i * d.a.row + p * d.a.column] * b[ob + p * d.b.row + j * d.b.column];
        want.f[size_t(at)] = sum;
        want.h[size_t(at)] = bf16(sum);
      }
  }
  if (pack) {
    const onednn::PackedB packed(d, b.pointer());
    onednn::gemm(d, a.pointer(), b.pointer(), bias.pointer(), c.pointer(), &packed);
  } else {
    onednn::gemm(d, a.pointer(), b.pointer(), bias.pointer(), c.pointer());
  }
  for (size_t i = 0; i < c.f.size(); ++i)
    if (c[int64_t(i)] != want[int64_t(i)]) return false;
  return true;
}

GemmDesc matrices(int64_t m, int64_t n, int64_t k, Dtype in = Dtype::f32, Dtype out = Dtype::f32) {
  GemmDesc d{.m = m, .n = n, .k = k};
  d.a = {in, k, 1, {}};
  d.b = {in, n, 1, {}};
  d.c = {out, n, 1, {}};
  return d;
}

/// q k^T (or p v) on heads that are strided views of one [B, L, 3, H, D] tensor.
GemmDesc scores(int64_t B, int64_t H, int64_t L, int64_t D, Dtype t) {
  GemmDesc d{.m = L, .n = L, .k = D, .batch_dims = 2, .batch_shape = {B, H}};
  d.a = {t, 3 * H * D, 1, {L * 3 * H * D, D}};
  d.b = {t, 1, 3 * H * D, {L * 3 * H * D, D}};
  d.c = {t, L, 1, {H * L * L, L * L}};
  return d;
}
GemmDesc weighted_values(int64_t B, int64_t H, int64_t L, int64_t D, Dtype t) {
  GemmDesc d{.m = L, .n = D, .k = L, .batch_dims = 2, .batch_shape = {B, H}};
  d.a = {t, L, 1, {H * L * L, L * L}};
  d.b = {t, 3 * H * D, 1, {L * 3 * H * D, D}};
  d.c = {t, H * D, 1, {L * H * D, D}};
  return d;
}

bool starts_with(const std::string& text, const std::string& head) { return text.rfind(head, 0) == 0; }

}  // namespace

TEST_CASE("onednn: a packed factor serves other products with it, and leaves those of other sizes or types alone",
          "[unit]") {
  const GemmDesc first = matrices(40, 70, 90);
  Data a(Dtype::f32, 100 * 90, 1), b(Dtype::f32, 90 * 70, 2);
  const onednn::PackedB packed(first, b.pointer());
  const auto agrees = [&](const GemmDesc& d, Data x, Data y) {
    Data c(d.c.type, d.m * d.n, 4), want = c;
    onednn::gemm(d, x.pointer(), y.pointer(), nullptr, c.pointer(), &packed);
    onednn::gemm(d, x.pointer(), y.pointer(), nullptr, want.pointer());
    return c.f == want.f;
  };
  CHECK(agrees(matrices(100, 70, 90), a, b));
  CHECK(agrees(matrices(40, 60, 90), a, Data(Dtype::f32, 90 * 60, 3)));
  CHECK(agrees(matrices(40, 70, 80), a, Data(Dtype::f32, 80 * 70, 3)));
  CHECK(agrees(matrices(40, 70, 90, Dtype::bf16), Data(Dtype::bf16, 40 * 90, 1), Data(Dtype::bf16, 90 * 70, 3)));
}

TEST_CASE("onednn: wide results, computed some rows at a time, are exact", "[unit]") {
  for (Dtype out : {Dtype::bf16, Dtype::f32})
    for (int64_t k : {33, 64})
      for (bool bias : {false, true})
        for (int layout : {0, 1, 2}) {  // oneDNN takes only dense rows, so the last one goes another way
          INFO("out " << int(out) << " k " << k << " bias " << bias << " layout " << layout);
          GemmDesc d = matrices(961, 600, k, Dtype::bf16, out);
          if (layout == 1) d.b.row = 1, d.b.column = k;
          if (layout == 2) d.a.row = k + 3, d.c.row = 611;
          d.bias = bias;
          CHECK(is_exact(d));
          CHECK(is_exact(d, true));
        }
}

TEST_CASE("onednn: products of every layout and type are exact", "[unit]") {
  for (Dtype in : {Dtype::f32, Dtype::bf16})
    for (Dtype out : {Dtype::f32, Dtype::bf16}) {
      if (in == Dtype::f32 && out == Dtype::bf16) continue;
      for (int64_t m : {1, 5, 197})
        for (int64_t n : {1, 10, 33})
          for (int64_t k : {1, 7, 64}) {
            INFO("m " << m << " n " << n << " k " << k << " in " << int(in) << " out " << int(out));
            GemmDesc d = matrices(m, n, k, in, out);
            CHECK(is_exact(d));
            CHECK(is_exact(d, true));
            d.b.row = 1, d.b.column = k;
            CHECK(is_exact(d));
            CHECK(is_exact(d, true));
            d.a.row = 1, d.a.column = m;
            CHECK(is_exact(d));
            d.bias = true;
            CHECK(is_exact(d));
            CHECK(is_exact(d, true));
            d.bias_type = in;
            CHECK(is_exact(d));
            d.bias = false, d.accumulate = true;
            CHECK(is_exact(d));
            d.c.row = n + 3, d.a.column = m + 2, d.b.column = k + 5;
            CHECK(is_exact(d));
            d.a.row = 2, d.a.column = 3, d.b.row = 0, d.b.column = 2;
            CHECK(is_exact(d));
          }
    }
}

TEST_CASE("onednn: batches, views of heads, and broadcast operands are exact", "[unit]") {
  for (Dtype t : {Dtype::f32, Dtype::bf16}) {
    CHECK(is_exact(scores(2, 3, 37, 16, t)));
    CHECK(is_exact(weighted_values(2, 3, 37, 16, t)));
    GemmDesc d = matrices(5, 6, 7, t, t);
    d.batch_dims = 3, d.batch_shape = {2, 1, 4};
    d.c.batch = {4 * 30, 99, 30};
    d.a.batch = {4 * 35, 7, 35};
    CHECK(is_exact(d));  // b shared
    d.b.batch = {42, 0, 0};
    CHECK(is_exact(d));  // b shared within the last dimension
    d.a.batch = {0, 0, 35};
    CHECK(is_exact(d));
  }
}

TEST_CASE("onednn: empty products", "[unit]") {
  CHECK(is_exact(matrices(3, 4, 0)));
  GemmDesc d = matrices(3, 4, 0, Dtype::bf16, Dtype::bf16);
  d.bias = true;
  CHECK(is_exact(d));
  d.bias = false, d.accumulate = true;
  CHECK(is_exact(d));
  float untouched = 7;
  onednn::gemm(matrices(0, 4, 4), nullptr, nullptr, nullptr, &untouched);
  onednn::gemm(matrices(4, 0, 4), nullptr, nullptr, nullptr, &untouched);
  CHECK(untouched == 7);
  CHECK(onednn::implementation(matrices(0, 4, 4)) == "none");
}

TEST_CASE("onednn: wrong descriptions are refused", "[unit]") {
  GemmDesc d = matrices(2, 3, 4);
  d.b.type = Dtype::bf16;
  CHECK_THROWS_AS(onednn::plan(d), ValueError);
  d = matrices(2, 3, 4, Dtype::f32, Dtype::bf16);
  CHECK_THROWS_AS(onednn::plan(d), ValueError);
  d = matrices(2, 3, 4);
  d.c.row = 2;
  CHECK_THROWS_AS(onednn::plan(d), ValueError);
  d = matrices(2, 3, 4);
  d.bias = d.accumulate = true;
  CHECK_THROWS_AS(onednn::plan(d), ValueError);
}

// oneDNN has slow code for some layouts: reference loops, unblocked bf16 for the transposed views of attention (20
// times slower where the processor has AMX), bf16 without bf16 instructions. The adapter must use none of it.
TEST_CASE("onednn: no product of the models runs on slow code", "[unit]") {
  auto check = [](const GemmDesc& d) {
    const onednn::Plan p = onednn::plan(d);
    // What runs blocked in oneDNN at all on this processor must do so for every layout of the models; f32 heads are
    // ours.
    const std::string simple = onednn::implementation(matrices(197, 384, 384, d.a.type, d.a.type));
    if (d.batch_dims == 0 || d.a.type == Dtype::bf16) {
      CHECK(starts_with(p.implementation, "brg") == starts_with(simple, "brg"));
    }
    INFO(d.m << "x" << d.n << "x" << d.k << " " << to_string(d.a.type) << ": " << p.implementation << " copies "
             << p.copies_a << p.copies_b << p.copies_c);
    const bool native = p.implementation.find("bf16") != std::string::npos || p.implementation.find("amx") < 99;
    CHECK((p.implementation == "blocked" ||
           (starts_with(p.implementation, "brg") && (d.a.type == Dtype::f32 || native))));
  };
  for (Dtype t : {Dtype::f32, Dtype::bf16}) {
    for (int64_t rows : {197, 1576}) {
      for (auto [n, k] : {std::pair<int64_t, int64_t>{1152, 384}, {384, 384}, {1536, 384}, {384, 1536}, {1000, 384}}) {
        GemmDesc d = matrices(rows, n, k, t, t);
        check(d);
        d.b.row = 1, d.b.column = k;
        check(d);  // x weight^T
        d = matrices(k, n, rows, t);
        d.a.row = 1, d.a.column = k;
        check(d);  // weight gradient
      }
    }
    check(scores(8, 6, 197, 64, t));
    check(weighted_values(8, 6, 197, 64, t));
    GemmDesc odd = matrices(197, 197, 64, t, t);
    odd.a.row = 128, odd.a.column = 2;
    if (t == Dtype::bf16) check(odd);
  }
}

TEST_CASE("onednn: a repeated product allocates no buffers", "[unit]") {
  for (const GemmDesc& d : {scores(2, 6, 197, 64, Dtype::bf16), weighted_values(1, 6, 197, 64, Dtype::bf16),
                            matrices(197, 384, 384), scores(2, 6, 197, 64, Dtype::f32)}) {
    Data a(d.a.type, extent(d, d.a, d.m, d.k), 1), b(d.b.type, extent(d, d.b, d.k, d.n), 2);
    Data c(d.c.type, extent(d, d.c, d.m, d.n), 3);
    const auto repeat = [&](int times) {
      for (int i = 0; i < times; ++i) onednn::gemm(d, a.pointer(), b.pointer(), nullptr, c.pointer());
    };
    const auto grows = [&] {
      const auto before = mallinfo2();
      repeat(5);
      const auto after = mallinfo2();
      // oneDNN makes and drops small objects in each call; where malloc files them moves this count by a chunk or two.
      // The smallest buffer of these products has 50 KB.
      return after.uordblks >= before.uordblks + 1024 || after.hblks != before.hblks || after.arena != before.arena;
    };
    INFO(onednn::implementation(d));
    {
      const testing::ThreadsGuard guard(1);
      repeat(3);
      CHECK_FALSE(grows());
    }
    // With more threads each call may be the first in which one of them takes a part, so a few may grow, not all.
    int growing = 0;
    while (growing < 10 && grows()) ++growing;
    CHECK(growing < 10);
  }
}

TEST_CASE("onednn: the same bits for every number of threads", "[unit]") {
  for (const GemmDesc& d : {matrices(197, 384, 1536), matrices(384, 384, 1576), matrices(4, 4, 20000),
                            matrices(961, 576, 192, Dtype::bf16, Dtype::f32)}) {
    std::mt19937 random(5);
    Data a(d.a.type, d.m * d.k, 1), b(d.b.type, d.k * d.n, 2);
    std::vector<float> one(size_t(d.m * d.n)), many = one;
    for (auto* v : {&a, &b})
      for (size_t i = 0; i < v->f.size(); ++i) v->h[i] = bf16(v->f[i] = float(random()) * 0x1p-32f - 0.5f);
    const auto run_with = [&](int threads, std::vector<float>& c) {
      const testing::ThreadsGuard guard(threads);
      onednn::gemm(d, a.pointer(), b.pointer(), nullptr, c.data());
    };
    run_with(1, one);
    for (int threads : {2, 3, 8}) {
      run_with(threads, many);
      CHECK(one == many);
    }
  }
}

TEST_CASE("onednn: the cache stays correct when it overflows", "[unit]") {
  for (int64_t n = 1; n <= 300; ++n) REQUIRE(is_exact(matrices(2, n, 3)));
  CHECK(is_exact(matrices(2, 1, 3)));
}
