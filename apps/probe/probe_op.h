#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/attributes.h"
#include "data/checkpoint/safetensors.h"

namespace vitrine::apps {

/// One call of a registered op by name.
struct OpProbe {
  std::string name;
  Attributes attributes;
  std::string device;
  std::optional<std::vector<std::string>> inputs;  ///< arguments to pass; those found in the file if absent
  std::string file;                                ///< where the tensors come from, for messages
};

/// Runs the op on the tensors of `in` that carry its arguments' names. An output y with a tensor `cotangent.y` in `in`
/// contributes <cotangent.y, y> to the scalar whose gradient is taken; with no cotangent at all only the forward runs.
///
/// @return every output by name and, after a backward, `grad.x` for each floating argument x that takes a gradient
///         (zeros where none flows), on the CPU, in the inputs' dtypes
/// @throws UsageError for an unknown op, argument or device, and for arguments that the op rejects;
///         IoError for a missing tensor, or a cotangent that fits no output
data::Safetensors probe_op(const OpProbe& probe, const data::Safetensors& in);

}  // namespace vitrine::apps
