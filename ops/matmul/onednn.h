#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>

/// The one door to oneDNN's matrix product, for its 2.6 (Debian 12) and 3.x interfaces. Raw pointers in, raw pointers
/// out; primitives are kept per thread, by description. Softmax stays ours: oneDNN's falls to reference code on rows
/// padded to a larger stride.
namespace vitrine::onednn {

enum class Type : uint8_t { f32, bf16 };

constexpr int kMaxBatchDims = 6;

/// Element (b.., i, j) lies at batch . b + i * row + j * column, counted in elements. Strides of a and b may be any
/// non-negative numbers (0 repeats); c needs column == 1 and rows that do not overlap.
struct Operand {
  Type type = Type::f32;
  int64_t row = 0, column = 1;
  std::array<int64_t, kMaxBatchDims> batch{};
  bool operator==(const Operand&) const = default;
};

/// c [batch.., m, n] = a [batch.., m, k] * b [batch.., k, n] + bias [n], or c += that if `accumulate`. a and b share a
/// type; sums are kept in f32. Sizes of 0 are allowed. The bias is dense.
struct GemmDesc {
  int64_t m = 0, n = 0, k = 0;
  int batch_dims = 0;
  std::array<int64_t, kMaxBatchDims> batch_shape{};
  Operand a{}, b{}, c{};
  bool bias = false;
  Type bias_type = Type::f32;
  bool accumulate = false;
  bool operator==(const GemmDesc&) const = default;
};

/// A weight matrix in the layout that oneDNN prefers, for weights that stay the same over many calls: 3 % faster on one
/// core and up to 16 % (bf16) on two, since no thread copies tiles of b again. The owner makes a new one when the
/// weight changes.
class PackedB {
 public:
  /// Packs `b` for products described by `desc`; desc.batch_dims must be 0.
  PackedB(const GemmDesc& desc, const void* b);
  ~PackedB();
  PackedB(PackedB&&) noexcept;
  PackedB& operator=(PackedB&&) noexcept;

  struct Layout;
  const Layout& layout() const { return *layout_; }

 private:
  std::unique_ptr<Layout> layout_;
};

/// Runs the product. A repeated description allocates no buffers. `packed`, if given, holds the same values as `b` and
/// is used where its layout suits this description; `b` must be valid too. Throws std::invalid_argument for a
/// description that breaks the rules above.
void gemm(const GemmDesc& desc, const void* a, const void* b, const void* bias, void* c,
          const PackedB* packed = nullptr);

/// How a product runs. Operands whose strides would push oneDNN to slow code pass through dense copies: strides it has
/// no kernel for, and bf16 views that miss its blocked kernels. bf16 without native instructions is widened to f32,
/// which is faster than oneDNN's emulation. bench_onednn shows the times.
struct Plan {
  std::string implementation;  ///< oneDNN's name, such as "brg:avx512_core"; "none" for an empty product
  bool copies_a = false, copies_b = false, copies_c = false, widens = false;
};
Plan plan(const GemmDesc& desc);

/// plan(desc).implementation.
std::string implementation(const GemmDesc& desc);

}  // namespace vitrine::onednn
