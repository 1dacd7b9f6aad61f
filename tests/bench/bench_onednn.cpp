// Compares three ways to run the matrix products of DeiT-S: oneDNN called bare, through our adapter, and through it
// with packed weights. Prints the best time of many interleaved calls, so that a busy machine disturbs all three alike.
//
//   bench_onednn [threads] [seconds per row]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "core/float16.h"
#include "core/parallel.h"
#include "ops/matmul/onednn.h"

namespace {

using namespace vitrine;
using Clock = std::chrono::steady_clock;
using dnnl::memory;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// The shortest way to call oneDNN on dense operands: primitive, memories and argument map are made once.
class Bare {
 public:
  Bare(const GemmDesc& d, void* a, void* b, void* bias, void* c)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    const memory::desc da = desc(d, d.a, d.m, d.k), db = desc(d, d.b, d.k, d.n), dc = desc(d, d.c, d.m, d.n);
    const memory::desc dbias =
        d.bias ? memory::desc({1, d.n}, memory::data_type::f32, memory::format_tag::ab) : memory::desc();
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc pd = d.bias ? dnnl::matmul::primitive_desc(engine_, da, db, dbias, dc, attr)
                                                   : dnnl::matmul::primitive_desc(engine_, da, db, dc, attr);
#else
    const auto operation = d.bias ? dnnl::matmul::desc(da, db, dbias, dc) : dnnl::matmul::desc(da, db, dc);
    const dnnl::matmul::primitive_desc pd(operation, attr, engine_);
#endif
    matmul_ = dnnl::matmul(pd);
    arguments_ = {{DNNL_ARG_SRC, memory(da, engine_, a)},
                  {DNNL_ARG_WEIGHTS, memory(db, engine_, b)},
                  {DNNL_ARG_DST, memory(dc, engine_, c)},
                  {DNNL_ARG_SCRATCHPAD, memory(pd.scratchpad_desc(), engine_)}};
    if (d.bias) arguments_.insert({DNNL_ARG_BIAS, memory(dbias, engine_, bias)});
  }
  void run() {
    matmul_.execute(stream_, arguments_);
    stream_.wait();
  }

 private:
  static memory::desc desc(const GemmDesc& d, const GemmOperand& x, int64_t rows, int64_t columns) {
    const auto type = x.type == Dtype::f32 ? memory::data_type::f32 : memory::data_type::bf16;
    if (d.batch_dims == 0) return {{rows, columns}, type, memory::dims{x.row, x.column}};
    return {{d.batch_shape[0], rows, columns}, type, memory::dims{x.batch[0], x.row, x.column}};
  }
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul matmul_;
  std::unordered_map<int, memory> arguments_;
};

struct Row {
  const char* name;
  int64_t batch, m, n, k;
  bool weights;  ///< b is a [n, k] weight and there is a bias
};

std::vector<char> numbers(Dtype type, int64_t n) {
  std::vector<char> bytes(size_t(n * size_of(type)));
  for (int64_t i = 0; i < n; ++i) {
    const float x = float(i % 13) / 13 - 0.5f;
    if (type == Dtype::f32) {
      reinterpret_cast<float*>(bytes.data())[i] = x;
    } else {
      reinterpret_cast<bf16*>(bytes.data())[i] = bf16(x);
    }
  }
  return bytes;
}

void bench(const Row& row, Dtype type, double seconds) {
  GemmDesc d;
  d.m = row.m, d.n = row.n, d.k = row.k;
  d.a = {type, d.k, 1, {d.m * d.k}};
  d.b = row.weights ? GemmOperand{type, 1, d.k, {}} : GemmOperand{type, d.n, 1, {d.k * d.n}};
  d.c = {type, d.n, 1, {d.m * d.n}};
  d.bias = row.weights;
  if (row.batch > 1) d.batch_dims = 1, d.batch_shape[0] = row.batch;
  auto a = numbers(type, row.batch * d.m * d.k), b = numbers(type, row.batch * d.k * d.n);
  auto c = numbers(type, row.batch * d.m * d.n), bias = numbers(Dtype::f32, d.n);
  Bare bare(d, a.data(), b.data(), bias.data(), c.data());
  std::vector<onednn::PackedB> packed;
  if (row.weights) packed.emplace_back(d, b.data());

  double best[3] = {1e30, 1e30, 1e30};
  const auto start = Clock::now();
  for (int64_t i = 0; seconds_since(start) < seconds || i < 30; ++i) {
    const int way = int(i % 3);
    if (way == 2 && packed.empty()) continue;
    const auto before = Clock::now();
    if (way == 0) bare.run();
    if (way == 1) onednn::gemm(d, a.data(), b.data(), bias.data(), c.data());
    if (way == 2) onednn::gemm(d, a.data(), b.data(), bias.data(), c.data(), packed.data());
    best[way] = std::min(best[way], seconds_since(before));
  }
  const double flops = 2.0 * double(row.batch * d.m * d.n) * double(d.k) * 1e-9;
  std::printf("%-20s %-5s %9.1f %9.1f %7.3f %8.1f ", row.name, to_string(type).c_str(), best[0] * 1e6, best[1] * 1e6,
              best[1] / best[0], flops / best[1]);
  if (row.weights) {
    std::printf("%9.1f %7.3f  ", best[2] * 1e6, best[2] / best[0]);
  } else {
    std::printf("%9s %7s  ", "-", "-");
  }
  std::printf("%s\n", onednn::implementation(d).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) set_num_threads(std::atoi(argv[1]));
  const double seconds = argc > 2 ? std::atof(argv[2]) : 1.0;
  const Row rows[] = {{"qkv  197x1152x384", 1, 197, 1152, 384, true},
                      {"proj 197x384x384", 1, 197, 384, 384, true},
                      {"fc1  197x1536x384", 1, 197, 1536, 384, true},
                      {"fc2  197x384x1536", 1, 197, 384, 1536, true},
                      {"qkv  1576x1152x384", 1, 1576, 1152, 384, true},
                      {"proj 1576x384x384", 1, 1576, 384, 384, true},
                      {"fc1  1576x1536x384", 1, 1576, 1536, 384, true},
                      {"fc2  1576x384x1536", 1, 1576, 384, 1536, true},
                      {"48 x 197x197x64", 48, 197, 197, 64, false},
                      {"48 x 197x64x197", 48, 197, 64, 197, false},
                      {"tiny 4x4x4", 1, 4, 4, 4, false}};
  std::printf("%d thread(s), best of interleaved calls\n", num_threads());
  std::printf("%-20s %-5s %9s %9s %7s %8s %9s %7s  %s\n", "product", "type", "bare us", "ours us", "ratio", "GFLOP/s",
              "packed us", "ratio", "implementation");
  for (Dtype type : {Dtype::f32, Dtype::bf16})
    for (const Row& row : rows) bench(row, type, seconds);
}
