#pragma once
#include "data/checkpoint/safetensors.h"

namespace vitrine::data {

/// Tensors of a checkpoint of any format.
struct Checkpoint {
  std::string format;        ///< "safetensors", "torch", "torch-legacy", "npz"
  std::string key = {};      ///< of a PyTorch file: the entry of its dict that was taken; "" for the dict itself
  Safetensors content = {};  ///< on the CPU, contiguous, none sharing memory with another
  std::vector<std::string> notes = {};  ///< what was widened or passed over, a line each
};

/// Whether a file of torch.save called STEM-xxxxxxxx.pth must have a SHA-256 that begins with these eight digits, as
/// published weights do.
enum class NameHash { verify, ignore };

/// Reads a checkpoint, whose kind is told by its content: safetensors, what torch.save wrote (zip archive or the form
/// before PyTorch 1.6), or .npz. Nothing in a file is executed or trusted (data/README.md).
///
/// @param key  which entry of a PyTorch file's dict: by default the dict itself if it maps names to tensors, else the
///             first of model, state_dict, model_state_dict, model_ema, state_dict_ema that holds some, else the only
///             entry that does. Dicts and lists within it give names with dots
/// @throws IoError naming the file and the place, or the hash that differs
Checkpoint read_checkpoint(const std::string& path, const std::string& key = {}, NameHash hash = NameHash::verify);

}  // namespace vitrine::data
