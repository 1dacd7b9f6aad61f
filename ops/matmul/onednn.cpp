#include "ops/matmul/onednn.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <type_traits>
#include <vector>

#include "core/float16.h"
#include "core/parallel.h"
#include "ops/matmul/blocked.h"

namespace vitrine::onednn {
namespace {

using dnnl::memory;
using PrimitiveDesc = dnnl::matmul::primitive_desc;

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::stream& stream() {
  thread_local dnnl::stream s(engine());
  return s;
}

/// Grow-only memory, 64-byte aligned.
class Buffer {
 public:
  void* at_least(size_t bytes) {
    if (bytes > size_) {
      data_.reset();
      data_.reset(::operator new(bytes, std::align_val_t(64)));
      size_ = bytes;
    }
    return data_.get();
  }

 private:
  struct Free {
    void operator()(void* p) const { ::operator delete(p, std::align_val_t(64)); }
  };
  std::unique_ptr<void, Free> data_;
  size_t size_ = 0;
};

memory::data_type dnnl_type(Dtype t) { return t == Dtype::f32 ? memory::data_type::f32 : memory::data_type::bf16; }

void validate(const GemmDesc& d) {
  auto require = [](bool ok, const char* what) {
    if (!ok) throw ValueError(what);
  };
  require(d.m >= 0 && d.n >= 0 && d.k >= 0, "onednn::gemm: negative size");
  require(d.batch_dims >= 0 && d.batch_dims <= GemmOperand::kMaxBatchDims,
          "onednn::gemm: more than 6 batch dimensions");
  auto known = [](Dtype t) { return t == Dtype::f32 || t == Dtype::bf16; };
  require(known(d.a.type) && known(d.c.type) && known(d.bias_type), "onednn::gemm: neither f32 nor bf16");
  require(d.a.type == d.b.type, "onednn::gemm: a and b differ in type");
  require(d.a.type == Dtype::bf16 || d.c.type == Dtype::f32, "onednn::gemm: f32 factors need an f32 result");
  require(!d.bias || !d.accumulate, "onednn::gemm: bias and accumulate exclude each other");
  require(d.c.column == 1 || d.n <= 1, "onednn::gemm: the columns of c are not contiguous");
  require(d.c.row >= d.n || d.m <= 1, "onednn::gemm: the rows of c overlap");
}

// ---- Copies -----------------------------------------------------------------------------------------------------

template <class From, class To>
void copy_rows(const GemmDesc& d, const GemmOperand& from, const GemmOperand& to, int64_t rows, int64_t columns,
               const From* x, To* y) {
  // Walk along the destination's contiguous dimension.
  const bool swap = to.row == 1 && to.column != 1;
  if (swap) std::swap(rows, columns);
  const int64_t from_row = swap ? from.column : from.row, from_column = swap ? from.row : from.column;
  const int64_t to_row = swap ? to.column : to.row;
  parallel_for(d.batch_count() * rows, std::max<int64_t>(1, 16384 / columns), [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line) {
      const From* p = x + d.batch_offset(from, line / rows) + line % rows * from_row;
      To* q = y + d.batch_offset(to, line / rows) + line % rows * to_row;
      auto at = [p](int64_t j) {
        if constexpr (std::is_same_v<From, To>)
          return p[j];
        else
          return convert<To>(p[j]);
      };
      if (from_column == 1) {
        for (int64_t j = 0; j < columns; ++j) q[j] = at(j);
      } else {
        for (int64_t j = 0; j < columns; ++j) q[j] = at(j * from_column);
      }
    }
  });
}

void copy(const GemmDesc& d, const GemmOperand& from, const GemmOperand& to, int64_t rows, int64_t columns,
          const void* x, void* y) {
  const auto* xf = static_cast<const float*>(x);
  const auto* xb = static_cast<const bf16*>(x);
  auto* yf = static_cast<float*>(y);
  auto* yb = static_cast<bf16*>(y);
  if (from.type == Dtype::f32) {
    if (to.type == Dtype::f32) return copy_rows(d, from, to, rows, columns, xf, yf);
    return copy_rows(d, from, to, rows, columns, xf, yb);
  }
  if (to.type == Dtype::f32) return copy_rows(d, from, to, rows, columns, xb, yf);
  copy_rows(d, from, to, rows, columns, xb, yb);
}

// ---- Primitives -------------------------------------------------------------------------------------------------

memory::desc dnnl_desc(const GemmDesc& d, const GemmOperand& x, int64_t rows, int64_t columns) {
  memory::dims sizes, strides;
  for (int i = 0; i < d.batch_dims; ++i) {
    const bool repeats = x.batch[i] == 0;
    sizes.push_back(repeats ? 1 : d.batch_shape[i]);
    strides.push_back(repeats ? rows * columns : x.batch[i]);
  }
  sizes.insert(sizes.end(), {rows, columns});
  strides.insert(strides.end(), {x.row, x.column});
  return {sizes, dnnl_type(x.type), strides};
}

memory::desc bias_desc(const GemmDesc& d) {
  memory::dims sizes(size_t(d.batch_dims) + 1, 1);
  sizes.push_back(d.n);
  memory::dims strides(sizes.size(), d.n);
  strides.back() = 1;
  return {sizes, dnnl_type(d.bias_type), strides};
}

/// oneDNN's description of `d` as it stands, or nothing where it has no code. `pack_b` leaves b's layout to oneDNN.
std::optional<PrimitiveDesc> describe(const GemmDesc& d, bool pack_b) {
  if (!has_plain_layout(d.a, d.m, d.k) || !has_plain_layout(d.b, d.k, d.n)) return std::nullopt;
  for (int i = 0; i < d.batch_dims; ++i)
    if (d.a.batch[i] == 0 && d.b.batch[i] == 0) return std::nullopt;  // one operand must have the result's size
  const memory::desc a = dnnl_desc(d, d.a, d.m, d.k), c = dnnl_desc(d, d.c, d.m, d.n);
  const memory::desc b =
      pack_b ? memory::desc({d.k, d.n}, dnnl_type(d.b.type), memory::format_tag::any) : dnnl_desc(d, d.b, d.k, d.n);
  const memory::desc bias = d.bias ? bias_desc(d) : memory::desc();
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (d.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attr.set_post_ops(sum);
  }
  try {
#if DNNL_VERSION_MAJOR >= 3
    return d.bias ? PrimitiveDesc(engine(), a, b, bias, c, attr) : PrimitiveDesc(engine(), a, b, c, attr);
#else
    const auto operation = d.bias ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c);
    return PrimitiveDesc(operation, attr, engine());
#endif
  } catch (const dnnl::error& e) {
    if (e.status == dnnl_unimplemented) return std::nullopt;
    throw;
  }
}

bool contains(const std::optional<PrimitiveDesc>& pd, const char* text) {
  return pd && std::strstr(pd->impl_info_str(), text);
}

/// Whether the AVX-512 bf16 dot product beats f32 arithmetic: twice its rate on Zen 4, half on Sapphire Rapids, where
/// only AMX pays.
bool bf16_dot_product_pays() {
#if defined(__x86_64__)
  return !__builtin_cpu_is("intel");
#else
  return true;
#endif
}

/// Whether oneDNN has blocked kernels for this description, with bf16 instructions if it is bf16. All else is ours: its
/// unblocked f32 code is no faster than blocked_gemm, allocates on every call, and splits k by the number of threads,
/// so that results change with it; its other bf16 code and its reference code are slow.
bool is_fast(const std::optional<PrimitiveDesc>& pd, Dtype type) {
  if (!pd || !contains(pd, "brg")) return false;
  return type == Dtype::f32 || contains(pd, "amx") || (contains(pd, "bf16") && bf16_dot_product_pays());
}

/// A product ready to run: what was asked, what is asked of oneDNN after copies, and the primitive with its memories.
struct Prepared {
  GemmDesc asked, run;
  bool packed = false;
  int threads = 0;
  uint64_t last_use = 0;
  bool copy_a = false, copy_b = false, copy_c = false;
  std::optional<PrimitiveDesc> pd;  ///< empty where blocked_gemm runs
  dnnl::primitive primitive;
  memory a, b, bias, c, scratch;

  Prepared(const GemmDesc& d, bool pack_b, int thread_count);

 private:
  void choose();
};

constexpr int kA = 1, kB = 2, kC = 4;

/// Finds the first fast one of: as asked, and for bf16 with some operands dense, few before many. (In f32 the copies
/// cost what blocked kernels win.)
void Prepared::choose() {
  for (int operands : {0, kA, kB, kC, kA | kB, kA | kC, kB | kC, kA | kB | kC}) {
    if (operands != 0 && (packed || asked.a.type == Dtype::f32)) return;
    run = asked;
    if (operands & kA) run.a = dense(asked, asked.a, asked.m, asked.k);
    if (operands & kB) run.b = dense(asked, asked.b, asked.k, asked.n);
    if (operands & kC) run.c = dense(asked, asked.c, asked.m, asked.n);
    auto candidate = describe(run, packed);
    if (is_fast(candidate, run.a.type)) {
      pd = std::move(candidate);
      return;
    }
  }
}

Prepared::Prepared(const GemmDesc& d, bool pack_b, int thread_count) : asked(d), packed(pack_b), threads(thread_count) {
  choose();
  if (!pd) return;
  copy_a = run.a != asked.a;
  copy_b = run.b != asked.b;
  copy_c = run.c != asked.c;
  primitive = dnnl::matmul(*pd);
  a = memory(pd->src_desc(), engine(), nullptr);
  b = memory(pd->weights_desc(), engine(), nullptr);
  c = memory(pd->dst_desc(), engine(), nullptr);
  if (run.bias) bias = memory(pd->bias_desc(), engine(), nullptr);
  scratch = memory(pd->scratchpad_desc(), engine(), nullptr);
}

}  // namespace

struct PackedB::Layout {
  memory values;                  ///< null where blocked_gemm runs:
  const float* panels = nullptr;  ///< pack_panels of `source`
  GemmDesc source;
  Buffer data;

  const float* panels_for(const GemmDesc& d) const {
    return d.n == source.n && d.k == source.k && d.b.type == source.b.type ? panels : nullptr;
  }
  /// Packs b for products like `p`, which was described with a packed b.
  void pack(const Prepared& p, const void* b) {
    values.reset(nullptr);
    const GemmDesc& d = source = p.asked;
    if (!p.pd) {
      auto* const to = static_cast<float*>(data.at_least(size_t(panels_size<float>(d)) * sizeof(float)));
      d.b.type == Dtype::f32 ? pack_panels(d, static_cast<const float*>(b), to)
                             : pack_panels(d, static_cast<const bf16*>(b), to);
      panels = to;
      return;
    }
    const memory::desc packed = p.pd->weights_desc();
    values = memory(packed, engine(), data.at_least(packed.get_size()));
    memory from(dnnl_desc(d, d.b, d.k, d.n), engine(), const_cast<void*>(b));
    dnnl::reorder(from, values).execute(stream(), from, values);
    stream().wait();
  }
};

namespace {

// ---- Wide results -----------------------------------------------------------------------------------------------

/// Rows of a wide result that are computed at a time.
constexpr int64_t kRowsAtATime = 64;

/// Whether the product with a packed b runs kRowsAtATime rows at a time, each thread on its own. Kernels write a result
/// in narrow blocks, a cache line or two of each row; where it is not in the cache, every such line waits for the
/// memory, and no prefetcher helps. A few rows can be brought to the cache beforehand, in the order of memory. It pays
/// in bf16, whose products by tiles are as fast as the memory (tests/bench/README.md).
bool goes_by_rows(const GemmDesc& d) {
  const int64_t row = d.n * size_of(d.c.type);
  return d.a.type == Dtype::bf16 && d.a.column == 1 && d.batch_dims == 0 && !d.accumulate && d.m >= 4 * kRowsAtATime &&
         row >= 1024 && d.m * row >= 1 << 20;
}

/// The description of `rows` rows of `d`.
GemmDesc rows_of(GemmDesc d, int64_t rows) {
  d.m = rows;
  return canonical(d);
}

/// This thread's most recent products. At most kCapacity are kept; the least recently used goes first.
class Cache {
 public:
  Prepared& find(const GemmDesc& d, bool packed) {
    const int threads = num_threads();
    ++clock_;
    for (auto& p : entries_)
      if (p->asked == d && p->packed == packed && p->threads == threads) {
        p->last_use = clock_;
        return *p;
      }
    auto made = std::make_unique<Prepared>(d, packed, threads);
    made->last_use = clock_;
    if (entries_.size() < kCapacity) return *entries_.emplace_back(std::move(made));
    auto oldest = std::min_element(entries_.begin(), entries_.end(),
                                   [](const auto& x, const auto& y) { return x->last_use < y->last_use; });
    *oldest = std::move(made);
    return **oldest;
  }

  Buffer scratch, a, b, c;

 private:
  static constexpr size_t kCapacity = 128;
  std::vector<std::unique_ptr<Prepared>> entries_;
  uint64_t clock_ = 0;
};

Cache& cache() {
  thread_local Cache c;
  return c;
}

template <class T, class C>
void run_blocked(const GemmDesc& d, const void* a, const void* b, const void* bias, void* c, const float* panels) {
  const T *ta = static_cast<const T*>(a), *tb = static_cast<const T*>(b);
  C* tc = static_cast<C*>(c);
  if (d.bias_type == Dtype::f32) return blocked_gemm(d, ta, tb, static_cast<const float*>(bias), tc, panels);
  blocked_gemm(d, ta, tb, static_cast<const bf16*>(bias), tc, panels);
}

void run_blocked(const GemmDesc& d, const void* a, const void* b, const void* bias, void* c, const float* panels) {
  if (d.a.type == Dtype::f32) return run_blocked<float, float>(d, a, b, bias, c, panels);
  if (d.c.type == Dtype::f32) return run_blocked<bf16, float>(d, a, b, bias, c, panels);
  run_blocked<bf16, bf16>(d, a, b, bias, c, panels);
}

/// c = bias in every row, or 0: what is left of a product whose k is 0.
void fill_with_bias(const GemmDesc& d, const void* bias, void* c) {
  if (d.accumulate) return;
  const float zero = 0;
  const GemmOperand row{d.bias ? d.bias_type : Dtype::f32, 0, d.bias ? 1 : 0, {}};
  copy(d, row, d.c, d.m, d.n, d.bias ? bias : &zero, c);
}

/// Runs a canonical product whose sizes are not 0.
void run(const GemmDesc& d, const void* a, const void* b, const void* bias, void* c, const PackedB::Layout* packed) {
  Cache& cached = cache();
  Prepared* p = nullptr;
  if (packed && packed->values && d.batch_dims == 0) {
    p = &cached.find(d, true);
    if (!p->pd || p->pd->weights_desc() != packed->values.get_desc()) p = nullptr;
  }
  const bool use_packed = p != nullptr;
  if (!p) p = &cached.find(d, false);

  if (!p->pd) return run_blocked(d, a, b, bias, c, packed && d.batch_dims == 0 ? packed->panels_for(d) : nullptr);

  const GemmDesc& r = p->run;
  const size_t batch = size_t(d.batch_count());
  auto converted = [&](Buffer& buffer, const GemmOperand& from, const GemmOperand& to, int64_t rows, int64_t columns,
                       const void* x, bool read) {
    void* y = buffer.at_least(batch * size_t(rows * columns) * size_t(size_of(to.type)));
    if (read) copy(d, from, to, rows, columns, x, y);
    return y;
  };
  if (p->copy_a) a = converted(cached.a, d.a, r.a, d.m, d.k, a, true);
  if (p->copy_b) b = converted(cached.b, d.b, r.b, d.k, d.n, b, true);
  void* out = p->copy_c ? converted(cached.c, d.c, r.c, d.m, d.n, c, d.accumulate) : c;

  p->a.set_data_handle(const_cast<void*>(a));
  if (!use_packed) p->b.set_data_handle(const_cast<void*>(b));
  p->c.set_data_handle(out);
  p->scratch.set_data_handle(cached.scratch.at_least(p->pd->scratchpad_desc().get_size()));
  if (r.bias) p->bias.set_data_handle(const_cast<void*>(bias));
  // The C interface takes the arguments as an array, where the C++ one builds a map on every call.
  const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, p->a.get()},
                                       {DNNL_ARG_WEIGHTS, use_packed ? packed->values.get() : p->b.get()},
                                       {DNNL_ARG_DST, p->c.get()},
                                       {DNNL_ARG_SCRATCHPAD, p->scratch.get()},
                                       {DNNL_ARG_BIAS, r.bias ? p->bias.get() : nullptr}};
  dnnl::error::wrap_c_api(dnnl_primitive_execute(p->primitive.get(), stream().get(), r.bias ? 5 : 4, arguments),
                          "onednn::gemm: execution failed");
  stream().wait();
  if (p->copy_c) copy(d, r.c, d.c, d.m, d.n, out, c);
}

/// Runs a product that goes_by_rows.
void run_by_rows(const GemmDesc& d, const void* a, const void* b, const void* bias, void* c,
                 const PackedB::Layout* packed) {
  const int64_t row_a = d.a.row * size_of(d.a.type), row_c = d.c.row * size_of(d.c.type);
  const int64_t line = d.n * size_of(d.c.type);
  parallel_for(d.m, kRowsAtATime, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kRowsAtATime) {
      const int64_t rows = std::min(kRowsAtATime, end - i);
      char* const to = static_cast<char*>(c) + i * row_c;
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t at = 0; at < line; at += 64) __builtin_prefetch(to + r * row_c + at, 1);
      run(rows_of(d, rows), static_cast<const char*>(a) + i * row_a, b, bias, to, packed);
    }
  });
}

}  // namespace

PackedB::PackedB(const GemmDesc& desc, const void* b) : layout_(std::make_unique<Layout>()) {
  validate(desc);
  if (desc.batch_dims != 0) throw ValueError("onednn::PackedB: b has batch dimensions");
  GemmDesc d = canonical(desc);
  if (d.m * d.n * d.k == 0) return;
  if (goes_by_rows(d)) d = rows_of(d, kRowsAtATime);
  layout_->pack(cache().find(d, true), b);
}

PackedB::~PackedB() = default;
PackedB::PackedB(PackedB&&) noexcept = default;
PackedB& PackedB::operator=(PackedB&&) noexcept = default;

void gemm(const GemmDesc& desc, const void* a, const void* b, const void* bias, void* c, const PackedB* packed) {
  validate(desc);
  if (desc.m == 0 || desc.n == 0 || desc.batch_count() == 0) return;
  if (desc.k == 0) return fill_with_bias(desc, bias, c);
  const GemmDesc d = canonical(desc);
  const PackedB::Layout* const layout = packed ? &packed->layout() : nullptr;
  if (layout && layout->values && goes_by_rows(d)) return run_by_rows(d, a, b, bias, c, layout);
  run(d, a, b, bias, c, layout);
}

Plan plan(const GemmDesc& desc) {
  validate(desc);
  if (desc.m * desc.n * desc.k * desc.batch_count() == 0) return {"none", false, false, false};
  const GemmDesc d = canonical(desc);
  const Prepared& p = cache().find(d, false);
  return {p.pd ? p.pd->impl_info_str() : "blocked", p.copy_a, p.copy_b, p.copy_c};
}

std::string implementation(const GemmDesc& desc) { return plan(desc).implementation; }

}  // namespace vitrine::onednn
