#include "models/official_names.h"

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <string_view>

#include "ops/concat/concat.h"

namespace vitrine::models {
namespace {

bool any_starts_with(const nn::NamedTensors& weights, std::string_view prefix) {
  return std::any_of(weights.begin(), weights.end(),
                     [&](const auto& entry) { return entry.first.starts_with(prefix); });
}

/// Takes the prefix off if every name has it.
void strip(nn::NamedTensors& weights, std::string_view prefix) {
  if (!std::all_of(weights.begin(), weights.end(), [&](const auto& e) { return e.first.starts_with(prefix); })) return;
  for (auto& [name, t] : weights) name.erase(0, prefix.size());
}

/// Replaces `from` at the beginning of the name; whether it was there.
bool replace_prefix(std::string& name, std::string_view from, std::string_view to) {
  if (!name.starts_with(from)) return false;
  name.replace(0, from.size(), to);
  return true;
}

using Renaming = std::pair<std::string_view, std::string_view>;
void rename(std::string& name, std::span<const Renaming> renamings) {
  for (const auto& [from, to] : renamings)
    if (replace_prefix(name, from, to)) return;
}

// Of the whole model, behind vit. or deit.
constexpr Renaming kOutside[] = {{"embeddings.cls_token", "cls_token"},
                                 {"embeddings.distillation_token", "dist_token"},
                                 {"embeddings.position_embeddings", "pos_embed"},
                                 {"embeddings.patch_embeddings.projection.", "patch_embed.proj."},
                                 {"layernorm.", "norm."},
                                 {"classifier.", "head."},
                                 {"cls_classifier.", "head."},
                                 {"distillation_classifier.", "head_dist."}};
constexpr std::string_view kBlocks = "blocks.";
// Of one block, behind encoder.layer.{i}. in files; the program of today says layers.{i}., o_proj and mlp.fc1.
constexpr std::string_view kLayers[] = {"encoder.layer.", "layers."};
constexpr Renaming kInside[] = {{"layernorm_before.", "norm1."},           {"layernorm_after.", "norm2."},
                                {"attention.output.dense.", "attn.proj."}, {"attention.o_proj.", "attn.proj."},
                                {"intermediate.dense.", "mlp.fc1."},       {"output.dense.", "mlp.fc2."}};
constexpr std::array<std::string_view, 3> kParts = {"query.", "key.", "value."},
                                          kNewParts = {"q_proj.", "k_proj.", "v_proj."};

/// Gathers the three parts of each qkv.
class FusedQkv {
 public:
  /// Whether `rest`, a name within the block, is that of a part; it is kept then.
  bool take(const std::string& block, const std::string& rest, const std::string& name, const Tensor& t) {
    std::string part = rest;
    if (!replace_prefix(part, "attention.attention.", "") && !replace_prefix(part, "attention.", "")) return false;
    for (size_t k = 0; k < kParts.size(); ++k) {
      if (!replace_prefix(part, kParts[k], "") && !replace_prefix(part, kNewParts[k], "")) continue;
      Parts& parts = found_[block + "attn.qkv." + part];
      parts.tensors[k] = t, parts.names[k] = name;
      return true;
    }
    return false;
  }
  void append_to(nn::NamedTensors& weights) const {
    for (const auto& [name, parts] : found_) {
      const auto& t = parts.tensors;
      const bool whole = t[0].defined() && t[1].defined() && t[2].defined() && t[0].dim() >= 1 &&
                         t[0].shape() == t[1].shape() && t[0].shape() == t[2].shape() && t[0].dtype() == t[1].dtype() &&
                         t[0].dtype() == t[2].dtype();
      if (whole) {
        weights.emplace_back(name, ops::concat({t[0], t[1], t[2]}, 0));
      } else {
        for (size_t k = 0; k < t.size(); ++k)
          if (t[k].defined()) weights.emplace_back(parts.names[k], t[k]);
      }
    }
  }

 private:
  struct Parts {
    std::array<Tensor, kParts.size()> tensors;
    std::array<std::string, kParts.size()> names;
  };
  std::map<std::string, Parts> found_;
};

nn::NamedTensors from_hugging_face(const nn::NamedTensors& weights) {
  const NoGrad no_grad;
  FusedQkv qkv;
  nn::NamedTensors renamed;
  for (const auto& [given, t] : weights) {
    std::string name = given;
    if (!replace_prefix(name, "vit.", "")) replace_prefix(name, "deit.", "");
    if (replace_prefix(name, kLayers[0], kBlocks) || replace_prefix(name, kLayers[1], kBlocks)) {
      const size_t dot = std::min(name.find('.', kBlocks.size()), name.size() - 1);
      const std::string block = name.substr(0, dot + 1);
      std::string rest = name.substr(dot + 1);
      if (qkv.take(block, rest, given, t)) continue;
      rename(rest, kInside);
      name = block + rest;
    } else {
      rename(name, kOutside);
    }
    renamed.emplace_back(std::move(name), t);
  }
  qkv.append_to(renamed);
  return renamed;
}

void rename_timm_swin(nn::NamedTensors& weights) {
  const bool moved =
      any_starts_with(weights, "layers.1.downsample.") && !any_starts_with(weights, "layers.0.downsample.");
  for (auto& [name, t] : weights) {
    replace_prefix(name, "head.fc.", "head.");
    constexpr std::string_view kStages = "layers.", kStep = ".downsample.";
    const size_t dot = name.find('.', kStages.size());
    if (!moved || !name.starts_with(kStages) || dot == std::string::npos || name.compare(dot, kStep.size(), kStep) != 0)
      continue;
    const std::string stage = name.substr(kStages.size(), dot - kStages.size());
    if (stage.empty() || stage.size() > 2 || stage.find_first_not_of("0123456789") != std::string::npos) continue;
    name.replace(kStages.size(), stage.size(), std::to_string(std::stoi(stage) - 1));
  }
}

}  // namespace

nn::NamedTensors official_names(nn::NamedTensors weights) {
  strip(weights, "module.");
  for (const char* first : {"vit.embeddings.", "deit.embeddings.", "embeddings.patch_embeddings."})
    if (any_starts_with(weights, first)) return from_hugging_face(weights);
  rename_timm_swin(weights);
  return weights;
}

}  // namespace vitrine::models
