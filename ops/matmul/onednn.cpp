#include "ops/matmul/onednn.h"

#include <algorithm>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

#include "core/float16.h"
#include "core/parallel.h"
#include "ops/matmul/blocked.h"
#include "ops/matmul/onednn_primitive.h"

namespace vitrine::onednn {
namespace {

using dnnl::memory;

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
