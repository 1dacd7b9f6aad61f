#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "core/tensor.h"

namespace vitrine::detail {

/// Only leaves that take gradients have one.
struct LeafState {
  Tensor grad;
  std::vector<std::function<Tensor(const Tensor&)>> hooks;
};

/// What a Tensor handle points to.
struct TensorState {
  std::shared_ptr<Storage> storage;
  int64_t offset = 0;
  Shape shape, strides;
  Dtype dtype = Dtype::f32;
  bool contiguous = true;
  uint32_t output_index = 0;
  std::shared_ptr<Node> node;
  std::unique_ptr<LeafState> leaf;
};

}  // namespace vitrine::detail
