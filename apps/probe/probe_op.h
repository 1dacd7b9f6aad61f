#pragma once
#include <optional>
#include <string>
#include <vector>

#include "apps/cli.h"
#include "core/attributes.h"
#include "data/checkpoint/safetensors.h"

namespace vitrine::apps {

/// One call of a registered op, module or model by name.
struct ProbeRequest {
  std::string target;  ///< "op", "module" or "model"
  std::string name;
  Attributes attributes;
  std::string device;
  std::optional<std::vector<std::string>> inputs;  ///< arguments to pass; those found in the file if absent
  bool init = false;                               ///< draw the parameters that the file lacks
  std::string file;                                ///< where the tensors come from, for messages
};

/// Runs `f`. What an op or module rejects is wrong use of the program: such errors become UsageError.
template <class F>
auto probing(F&& f) {
  const auto rejected = [](const Error& e) { return UsageError(format("probe: {}", e.what())); };
  try {
    return f();
  } catch (const ShapeError& e) {
    throw rejected(e);
  } catch (const DtypeError& e) {
    throw rejected(e);
  } catch (const ValueError& e) {
    throw rejected(e);
  }
}

/// Runs the op on the tensors of `in` that carry its arguments' names. An output y with a tensor `cotangent.y` in `in`
/// contributes <cotangent.y, y> to the scalar whose gradient is taken; with no cotangent at all only the forward runs.
///
/// @return every output by name and, after a backward, `grad.x` for each floating argument x that takes a gradient
///         (zeros where none flows), on the CPU, in the inputs' dtypes
/// @throws UsageError for an unknown op, argument or device, and for arguments that the op rejects;
///         IoError for a missing tensor, or a cotangent that fits no output
data::Safetensors probe_op(const ProbeRequest& probe, const data::Safetensors& in);

/// The same for a module or model: `deit_attention` (dim, heads, grid, skip, rpe; input x), `detr_encoder_layer` (dim,
/// heads, ffn, grid, rpe; inputs x, pos and, if there is padding, the boolean key_padding_mask), or any classifier
/// (num_classes, image_size, rpe, ape; input image). Parameters are read from `in` by their state_dict keys. Parameters
/// are f64 if the first input is, else f32. Runs in evaluation mode.
///
/// @return `out` and, after a backward, `grad.NAME` of every floating input and of every parameter, in the first
/// input's
///         dtype
/// @throws UsageError for an unknown name or setting; IoError for a parameter that is missing or has another shape, and
///         for a tensor that belongs to nothing
data::Safetensors probe_module(const ProbeRequest& probe, const data::Safetensors& in);

/// The cotangent of each output, undefined where `in` has none. @throws IoError for one that fits no output
std::vector<Tensor> gather_cotangents(const ProbeRequest& probe, const data::Safetensors& in,
                                      const std::vector<std::string>& names, const std::vector<Tensor>& outputs);
bool is_cotangent(const std::string& name);
/// Whether `in` holds any cotangent.
bool has_cotangents(const data::Safetensors& in);

}  // namespace vitrine::apps
