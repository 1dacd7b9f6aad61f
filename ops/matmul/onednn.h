#pragma once
#include <memory>
#include <string>

#include "ops/matmul/gemm_desc.h"

/// The one door to oneDNN's matrix product, for its 2.6 (Debian 12) and 3.x interfaces. Raw pointers in, raw pointers
/// out; primitives are kept per thread, by description. Softmax stays ours: oneDNN's falls to reference code on rows
/// padded to a larger stride.
namespace vitrine::onednn {

/// A weight matrix in the layout that oneDNN prefers, or blocked_gemm, for weights that stay the same over many calls:
/// 3 % faster on one core and up to 16 % (bf16) on two, since no thread copies tiles of b again. The owner makes a new
/// one when the weight changes.
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

/// Runs the product: f32 times f32 into f32, or bf16 times bf16 into f32 or bf16; bias f32 or bf16. A repeated
/// description allocates no buffers, and the number of threads does not change the result. `packed`, if given, holds
/// the same values as `b` and is used where its layout suits this description; `b` must be valid too. @throws
/// ValueError for a description that breaks these rules or those of GemmDesc.
void gemm(const GemmDesc& desc, const void* a, const void* b, const void* bias, void* c,
          const PackedB* packed = nullptr);

/// How a product runs. Only oneDNN's blocked kernels are used, in bf16 only where the processor multiplies bf16 faster
/// than f32. bf16 views that would miss them pass through dense copies; all else runs on blocked_gemm.
struct Plan {
  std::string implementation;  ///< oneDNN's name, such as "brg:avx512_core"; "blocked"; "none" for an empty product
  bool copies_a = false, copies_b = false, copies_c = false;
};
/// The plan for a description, which must be valid.
Plan plan(const GemmDesc& desc);

/// plan(desc).implementation.
std::string implementation(const GemmDesc& desc);

}  // namespace vitrine::onednn
