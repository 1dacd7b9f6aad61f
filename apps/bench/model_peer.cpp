#include "apps/bench/model_peer.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "apps/bench/distance.h"
#include "data/checkpoint/safetensors.h"

namespace vitrine::apps {
namespace {

/// A file that goes with its owner.
struct TemporaryFile {
  std::string path =
      (std::filesystem::temp_directory_path() / ("vitrine_bench_model_" + std::to_string(getpid()) + ".safetensors"))
          .string();
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
};

nlohmann::json config_json(const models::DeiTConfig& c) {
  return {{"dim", c.dim},
          {"depth", c.depth},
          {"heads", c.heads},
          {"hidden", c.dim * c.mlp_ratio},
          {"channels", c.channels},
          {"patch_size", c.patch_size},
          {"num_classes", c.num_classes},
          {"rpe_bias", c.rpe && c.rpe->mode == ops::RpeMode::bias}};
}

/// Beyond this the peer computes something else, and its time means nothing: rounding, through a dozen blocks.
double absurd(Dtype d) { return d == Dtype::bf16 ? 0.3 : 1e-3; }

}  // namespace

ModelPeer::ModelPeer(Peer& peer, const ModelWork& work, bool compile) : peer_(peer) {
  const TemporaryFile file;
  data::Safetensors content;
  for (const auto& [name, t] : work.model().state_dict()) content.tensors.emplace_back("weight." + name, t);
  content.tensors.emplace_back("images", work.images());
  content.tensors.emplace_back("targets", work.targets());
  const models::DeiTConfig& config = work.model().config;
  if (config.rpe) {
    const nn::TokenGrid grid = config.grid();
    const auto& indices = ops::rpe_indices(*config.rpe, grid.height, grid.width, grid.skip, Device::cpu());
    for (size_t i = 0; i < indices.size(); ++i)
      content.tensors.emplace_back("ids." + std::to_string(i), indices[i].ids());
  }
  data::write_safetensors(file.path, content);
  peer_.ask({{"cmd", "model"},
             {"config", config_json(config)},
             {"file", file.path},
             {"precision", to_string(work.precision)},
             {"training", work.setup.training},
             {"compile", compile},
             {"device", name_of(work.device.type)},
             {"no_decay", work.no_decay()},
             {"lr", ModelWork::kRate},
             {"weight_decay", ModelWork::kDecay}});
}

void ModelPeer::compare(ModelWork& work, const nn::NamedTensors& exact, BenchRow& row) const {
  const TemporaryFile file;
  const nlohmann::json answer = peer_.ask({{"cmd", "model_run"}, {"file", file.path}});
  row.peer += " (" + answer.value("how", "") + ")";
  const data::Safetensors theirs = data::read_safetensors(file.path);
  const nn::NamedTensors ours = work.outputs();
  row.check = "ok", row.difference = row.peer_difference = 0;
  const double floor = rounding(work.precision);
  const auto judge = [&](const std::string& name, double mine, double other, double factor, double most) {
    if (row.check != "ok" || (other <= most && mine <= std::max(factor * other, floor))) return;
    row.check = format("FAIL {}: relative L2 {}, the peer's {}", name, mine, other);
  };
  Distance mine_all, other_all;
  for (size_t i = 0; i < exact.size(); ++i) {
    const auto& [name, right] = exact[i];
    const Tensor* other = theirs.find(name);
    if (!other || other->shape() != right.shape()) {
      row.check = "FAIL " + name + ": the peer has none of this shape";
      return;
    }
    Distance logits[2];
    const bool gradient = i > 0;  // the logits are first
    const double mine = (gradient ? mine_all : logits[0]).add(ours[i].second, right);
    const double theirs_off = (gradient ? other_all : logits[1]).add(*other, right);
    judge(name, mine, theirs_off, gradient ? 3 : 1.2, gradient ? 1 : absurd(work.precision));
    if (!gradient) row.difference = mine, row.peer_difference = theirs_off;
  }
  judge("all gradients", mine_all.value(), other_all.value(), 1.2, absurd(work.precision));
  row.difference = std::max(row.difference, mine_all.value());
  row.peer_difference = std::max(row.peer_difference, other_all.value());
}

double ModelPeer::time(double budget_ms) const {
  return peer_.ask({{"cmd", "model_time"}, {"budget_ms", budget_ms}})["ms"];
}

double ModelPeer::peak_bytes() const { return peer_.ask({{"cmd", "model_memory"}})["bytes"]; }

}  // namespace vitrine::apps
