#include <cmath>

#include "apps/train/step_graph.h"
#include "core/allocator.h"
#include "models/deit/deit.h"
#include "nn/optim/ema.h"
#include "nn/optim/optimizer.h"
#include "nn/optim/schedule.h"
#include "ops/binary/operators.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "tests/support/models.h"

using namespace vitrine;
using namespace vitrine::testing;

namespace {

constexpr int64_t kBatch = 4, kSide = 12;

struct Settings {
  Dtype dtype = Dtype::f32;
  const char* rpe = "rpe-1.9-product-ctx-1-qkv";
  bool sgd = false, soft = false;
  int parts = 1;  ///< batches in a step
};

using State = std::vector<std::pair<std::string, std::vector<double>>>;

/// Where two states differ first; empty if they do not.
std::string difference(const State& a, const State& b) {
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    REQUIRE(a[i].second.size() == b[i].second.size());
    for (size_t k = 0; k < a[i].second.size(); ++k)
      if (a[i].second[k] != b[i].second[k])
        return format("{}, element {}: {} and {}", a[i].first, k, a[i].second[k], b[i].second[k]);
  }
  return "";
}

/// A small DeiT in training with everything that draws, clips, follows a schedule or averages.
struct Training {
  Generator rng{.seed = 11};
  models::DeiT model;
  std::unique_ptr<nn::Optimizer> optimizer;
  nn::Ema ema;
  Settings settings;

  explicit Training(const Settings& s, Device device = Device::emulated())
      : model({.device = device, .rng = &rng}, {.name = "small",
                                                .image_size = kSide,
                                                .patch_size = 4,
                                                .num_classes = 5,
                                                .dim = 16,
                                                .depth = 2,
                                                .heads = 2,
                                                .rpe = ops::parse_rpe(s.rpe),
                                                .drop_path = 0.3,
                                                .dropout = 0.2}),
        optimizer(s.sgd ? nn::make_sgd(nn::decay_groups(model.parameters(), 0.05))
                        : nn::make_adamw(nn::decay_groups(model.parameters(), 0.05))),
        ema(model, 0.9),
        settings(s) {}

  Tensor loss_of(const data::Batch& batch) {
    const Device device = model.device();
    const Tensor logits = model(batch.images.to(device).to(settings.dtype)).to(Dtype::f32);
    return batch.soft_targets.defined()
               ? ops::cross_entropy(logits, batch.soft_targets.to(device))
               : ops::cross_entropy(logits, batch.targets.to(device), {.label_smoothing = 0.1});
  }
  apps::StepTensors step(apps::StepGraph::Parts parts) {
    model.zero_grad();
    Tensor loss;
    for (const data::Batch& batch : parts) {
      const Tensor one = loss_of(batch);
      one.backward();
      loss = loss.defined() ? loss + one.detach() : one.detach();
    }
    const NoGrad no_grad;
    std::vector<Tensor> gradients;
    for (const auto& [name, p] : model.parameters()) gradients.push_back(p.grad());
    const Tensor norm = ops::global_norm(gradients, &norm_cache), finite = ops::both_finite(loss, norm);
    optimizer->update({.gradient_factor = ops::clip_factor(norm, 0.5), .condition = finite});
    ema.update(finite);
    return {loss, norm};
  }
  /// Everything that the next step depends on, and losses and norms so far.
  State state() const {
    State all{{"losses and norms", seen}, {"generator", {double(rng.offset)}}};
    for (const auto& [of, list] : {std::pair{"", model.state_dict()}, std::pair{"optimizer: ", optimizer->state_dict()},
                                   std::pair{"average: ", ema.state_dict()}})
      for (const auto& [name, t] : list) all.emplace_back(of + name, t.to_vector());
    return all;
  }
  void look_at(const apps::StepTensors& made) { seen.insert(seen.end(), {made.loss.item(), made.norm.item()}); }

  ops::MultiTensorCache norm_cache;
  std::vector<double> seen;
};

data::Batch batch_of(int i, const Settings& settings, int64_t images = kBatch) {
  Generator rng{.seed = 100 + uint64_t(i)};
  data::Batch batch{.images = random_normal({images, 3, kSide, kSide}, rng),
                    .targets = random_integers({images}, rng, 0, 5),
                    .soft_targets = {}};
  if (settings.soft) batch.soft_targets = random_uniform({images, 5}, rng, 0, 0.4);
  return batch;
}

std::vector<data::Batch> step_of(int i, const Settings& settings) {
  std::vector<data::Batch> parts;
  for (int part = 0; part < settings.parts; ++part) parts.push_back(batch_of(i + 1000 * part, settings));
  return parts;
}

/// The step that is recorded has the rate of the one before, when there is nothing to tell the device.
double rate(int i) {
  const nn::CosineSchedule schedule{.base = 1e-2, .epochs = 20, .warmup_epochs = 2};
  return schedule(i == nn::CapturedStep::kRehearsals ? i - 1 : i);
}

/// Steps [first, last) of a run, captured or not.
struct Run : Training {
  apps::StepGraph graph;
  std::string news;
  explicit Run(const char* mode, const Settings& s = {}, Device device = Device::emulated())
      : Training(s, device), graph(mode, device, rng, [this](apps::StepGraph::Parts parts) { return step(parts); }) {}

  void go(const std::vector<data::Batch>& parts, int i) {
    optimizer->set_lr(rate(i));
    const apps::StepTensors made = graph.run(parts);
    news += graph.take_news();
    look_at(made);
  }
  void go(int first, int last) {
    for (int i = first; i < last; ++i) go(step_of(i, settings), i);
  }
};

const std::string kCaptured = "the step is captured as a graph, which keeps 0 MiB\n";

}  // namespace

namespace {

void check_same_bits(Device device, const Settings& settings) {
  const int steps = nn::CapturedStep::kRehearsals + 4;
  Run eager("off", settings, device), captured("on", settings, device);
  eager.go(0, steps), captured.go(0, steps);
  CHECK(difference(captured.state(), eager.state()) == "");
  CHECK(captured.news == kCaptured);
  CHECK(eager.news.empty());
  CHECK(eager.seen[0] != eager.seen[2]);
}

}  // namespace

TEST_CASE("captured step: replays give the bits of steps that are not captured", "[unit][emulated]") {
  check_same_bits(Device::emulated(), {});
  check_same_bits(Device::emulated(),
                  {.dtype = Dtype::bf16, .rpe = "rpe-1.9-product-ctx-1-k", .soft = true, .parts = 2});
  check_same_bits(Device::emulated(), {.rpe = "none", .sgd = true});
}

TEST_CASE("captured step: on cuda too", "[cuda]") {
  if (cuda_device_count() == 0) {
    WARN("SKIPPED: no cuda device");
    return;
  }
  check_same_bits(Device::cuda(), {});
  check_same_bits(Device::cuda(), {.dtype = Dtype::bf16, .rpe = "rpe-1.9-product-ctx-1-k", .soft = true, .parts = 2});
  check_same_bits(Device::cuda(), {.rpe = "none", .sgd = true});
}

TEST_CASE("captured step: replays allocate nothing", "[unit][emulated]") {
  Run run("on");
  run.go(0, nn::CapturedStep::kRehearsals + 1);
  REQUIRE(run.news == kCaptured);
  const std::vector<data::Batch> batch = step_of(9, run.settings);
  const MemoryStats before = allocator(Device::emulated()).stats();
  for (int i = 0; i < 3; ++i) run.go(batch, i);
  const MemoryStats after = allocator(Device::emulated()).stats();
  CHECK(after.allocations == before.allocations);
  CHECK(after.live_bytes == before.live_bytes);
}

TEST_CASE("captured step: a step that is not finite changes nothing and is seen", "[unit][emulated]") {
  const int bad = nn::CapturedStep::kRehearsals + 2;
  Run run("on");
  run.go(0, bad);
  REQUIRE(run.news == kCaptured);
  Run untouched("off");
  untouched.go(0, bad);
  data::Batch batch = batch_of(bad, run.settings);
  batch.images.mutable_data<float>()[7] = NAN;
  const uint64_t draws = (run.rng.offset - Run("off").rng.offset) / uint64_t(bad);  // of a step
  run.go({batch}, bad);
  CHECK(std::isnan(run.seen.end()[-2]));
  CHECK(std::isnan(run.seen.end()[-1]));
  CHECK(run.rng.offset == untouched.rng.offset + draws);
  run.seen = untouched.seen, run.rng.offset = untouched.rng.offset;
  CHECK(difference(run.state(), untouched.state()) == "");

  run.go(bad, bad + 2);  // and the run could go on
  Run whole("off");
  whole.go(0, bad + 2);
  CHECK(difference(run.state(), whole.state()) == "");
}

TEST_CASE("captured step: a smaller batch runs op by op, and the graph goes on", "[unit][emulated]") {
  const int steps = nn::CapturedStep::kRehearsals + 3;
  const auto run = [&](const char* mode) {
    Run r(mode);
    r.go(0, steps);
    for (int round = 0; round < 2; ++round) {
      r.go({batch_of(50 + round, r.settings, kBatch - 1)}, steps);
      r.go(steps, steps + 2);
    }
    return std::pair(r.state(), r.news);
  };
  const auto [eager, silence] = run("off");
  const auto [captured, news] = run("on");
  CHECK(difference(captured, eager) == "");
  CHECK(silence.empty());
  CHECK(news == kCaptured + "the step is not captured as a graph: it has 1 batches of 3 images, not 1 of 4\n");
}

TEST_CASE("captured step: a batch that was sent ahead is the one that is used", "[unit][emulated]") {
  Run eager("off"), captured("on");
  eager.go(0, 7);
  std::vector<std::vector<data::Batch>> batches;
  for (int i = 0; i < 7; ++i) batches.push_back(step_of(i, captured.settings));
  for (int i = 0; i < 7; ++i) {
    captured.go(batches[size_t(i)], i);
    if (i < 6 && i != 4) captured.graph.send(batches[size_t(i) + 1]);  // one that was not ready in time
  }
  CHECK(difference(captured.state(), eager.state()) == "");
}

TEST_CASE("captured step: what cannot be captured is told, and runs op by op", "[unit][emulated]") {
  Training eager({}), captured({});
  int calls = 0;
  const auto body = [&](Training& t) {
    return [&](apps::StepGraph::Parts parts) {
      apps::StepTensors made = t.step(parts);
      ++calls;
      if (made.loss.item() < 0) ++calls;  // the host reads
      return made;
    };
  };
  apps::StepGraph off("off", Device::emulated(), eager.rng, body(eager));
  apps::StepGraph on("on", Device::emulated(), captured.rng, body(captured));
  std::string news;
  for (int i = 0; i < 6; ++i) {
    const std::vector<data::Batch> batch = step_of(i, {});
    for (Training* t : {&eager, &captured}) t->optimizer->set_lr(rate(i));
    eager.look_at(off.run(batch)), captured.look_at(on.run(batch));
    news += on.take_news();
  }
  CHECK(!on.on());
  CHECK(news ==
        "the step is not captured as a graph: to_device: 4 bytes go from emulated to cpu, which a replay cannot "
        "repeat\n");
  CHECK(difference(captured.state(), eager.state()) == "");
  CHECK(calls == 13);  // 6 and 6, and the recording that was refused

  Generator rng;
  const auto none = [](apps::StepGraph::Parts) { return apps::StepTensors(); };
  CHECK(apps::StepGraph("on", Device::cpu(), rng, none).take_news() ==
        "the step is not captured as a graph: cpu: its work is done at once and cannot be captured\n");
  CHECK(apps::StepGraph("auto", Device::cpu(), rng, none).take_news().empty());
  CHECK(!apps::StepGraph("auto", Device::emulated(), rng, none).on());
}
