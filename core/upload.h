#pragma once
#include <memory>

#include "core/tensor.h"

namespace vitrine {

/// Numbers that the host sets and the device reads: a tensor in host memory, and a copy on the device. What changes
/// from one replay of a captured graph to the next - learning rates, random offsets - reaches it this way.
class Upload {
 public:
  Upload(const Shape& shape, TensorOptions options);

  /// To be written by the host: while no replay that reads it is queued, that is before the first, or when a value that
  /// the last one computed has been read.
  Tensor& host() { return host_; }
  /// The copy; on the cpu the same tensor.
  const Tensor& device() const { return device_; }
  /// Copies. Recorded in a captured graph, each replay copies what the host tensor then holds.
  void send();

 private:
  Tensor host_, device_;
};

}  // namespace vitrine
