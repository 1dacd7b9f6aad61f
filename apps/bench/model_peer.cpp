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

/// What may separate a result from f64, relative to the peer's distance or absolutely.
struct Limits {
  double factor;  ///< of the peer's distance, for the logits and for all gradients together
  double
      floor;  ///< what rounding explains: that of one op (rounding()), a dozen blocks of which add up as a random walk
  double single;  ///< for the gradient of one parameter
  double absurd;  ///< beyond this the peer computes something else, and its time means nothing
};
constexpr double kSingleFactor = 3;

/// bf16 training may be twice as far off: the peer's autocast keeps the residual stream in f32, where ours is bf16, as
/// in a model of bf16. A single gradient may be small next to the terms that cancel in it (tables of relative
/// positions: the gradients of a row's scores sum to 0), and fused attention does not form the sum that cancels best.
Limits limits(Dtype d, bool training, int64_t depth) {
  const double walk = std::sqrt(double(depth));
  if (d == Dtype::bf16)
    return {.factor = training ? 2. : 1.2, .floor = rounding(d) * walk, .single = 0.3, .absurd = 0.3};
  return {.factor = 1.2, .floor = rounding(d) * walk, .single = 1e-3, .absurd = 1e-3};
}

}  // namespace

ModelPeer::ModelPeer(Peer& peer, const ModelWork& work, bool compile) : peer_(peer) {
  check<ValueError>(work.model().config.rival == nn::Rival::none && work.model().config.ape != models::Ape::peg,
                    "the peer has no relative positions but iRPE's, and no position generators");
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
  if (answer.contains("forms")) row.peer_forms = answer["forms"];
  const data::Safetensors theirs = data::read_safetensors(file.path);
  const nn::NamedTensors ours = work.outputs();
  row.check = "ok", row.difference = row.peer_difference = 0;
  const Limits limit = limits(work.precision, work.setup.training, work.model().config.depth);
  const auto judge = [&](const std::string& name, double mine, double other, double most) {
    if (row.check != "ok" || (other <= limit.absurd && mine <= most)) return;
    row.check = format("FAIL {}: relative L2 {}, the peer's {}", name, mine, other);
  };
  const auto judge_all = [&](const std::string& name, double mine, double other) {
    judge(name, mine, other, std::max(limit.factor * other, limit.floor));
    row.difference = std::max(row.difference, mine);
    row.peer_difference = std::max(row.peer_difference, other);
  };
  struct Gradient {
    std::string name;
    Distance mine, other;
  };
  Distance mine, other;
  std::vector<Gradient> gradients;
  for (size_t i = 0; i < exact.size(); ++i) {
    const auto& [name, right] = exact[i];
    const Tensor* found = theirs.find(name);
    if (!found || found->shape() != right.shape()) {
      row.check = "FAIL " + name + ": the peer has none of this shape";
      return;
    }
    if (name == "logits") {
      judge_all(name, relative_l2(ours[i].second, right), relative_l2(*found, right));
    } else {
      gradients.push_back({name, mine.add(ours[i].second, right), other.add(*found, right)});
    }
  }
  if (gradients.empty()) return;
  judge_all("all gradients", mine.value(), other.value());
  for (const Gradient& g : gradients) {
    // Some are 0 (tables on k of the last block: its one query has one bucket), and rounding of larger ones is all
    // there is.
    const double norm = std::hypot(g.mine.norm(), rounding(work.precision) * mine.norm());
    const double one = g.mine.difference() / norm, peers = g.other.difference() / norm;
    if (one > std::max(limit.single, kSingleFactor * peers) && row.check == "ok")
      row.check = format("FAIL {}: relative L2 {}, the peer's {}", g.name, one, peers);
  }
}

double ModelPeer::time(double budget_ms) const {
  return peer_.ask({{"cmd", "model_time"}, {"budget_ms", budget_ms}})["ms"];
}

double ModelPeer::peak_bytes() const { return peer_.ask({{"cmd", "model_memory"}})["bytes"]; }

}  // namespace vitrine::apps
