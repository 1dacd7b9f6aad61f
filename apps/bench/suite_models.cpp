#include "apps/bench/suite_models.h"

#include "apps/bench/machine.h"
#include "apps/bench/model_peer.h"
#include "apps/bench/peak.h"
#include "apps/bench/race.h"
#include "apps/bench/timing.h"
#include "core/allocator.h"
#include "core/backend.h"

namespace vitrine::apps {
namespace {

/// Results in f64 where that takes seconds, else in f32: then ours are compared with those of other kernels of ours.
constexpr double kAffordableMacs = 2e11;

class Measurement {
 public:
  Measurement(const BenchOptions& options, bool compile, Peaks& peaks)
      : options_(options), compile_(compile), peaks_(peaks) {}

  /// @param exact  the outputs to compare with; filled in by the first row of a setup that needs them
  BenchRow row(const ModelSetup& setup, Dtype dtype, nn::NamedTensors& exact) const {
    ModelWork work(setup, dtype, options_.device, options_.seed);
    BenchRow row;
    row.name = setup.model, row.sample = work.label(), row.device = to_string(options_.device);
    row.dtype = to_string(dtype), row.direction = setup.training ? "training step" : "inference";
    const std::unique_ptr<ModelPeer> peer = checked_peer(work, exact, row);
    work.run();
    add_memory(work, peer.get(), row);
    std::unique_ptr<ModelWork> plain;
    Sides sides{.ours = timed(work)};
    if (peer) sides.peer = [&] { return peer->time(options_.budget_ms); };
    if (work.has_rpe()) {
      ModelSetup without = setup;
      without.rpe = "none";
      plain = std::make_unique<ModelWork>(without, dtype, options_.device, options_.seed);
      sides.plain = timed(*plain);
    }
    for (ModelWork* warm : {&work, plain.get()})  // once is not enough: the first call finds gradients, and frees them
      for (int i = 0; warm && i < 2; ++i) warm->run();
    race(options_, sides, row);
    row.images_per_s = double(setup.batch) / (row.ms * 1e-3);
    row.gflops = 2 * work.macs() / row.ms * 1e-6;
    if (options_.device == Device::cpu()) row.percent_of_peak = 100 * row.gflops * 1e9 / peaks_.flops(dtype);
    return row;
  }

 private:
  std::unique_ptr<ModelPeer> checked_peer(ModelWork& work, nn::NamedTensors& exact, BenchRow& row) const {
    if (!options_.peer) return nullptr;
    row.peer = options_.peer_name;
    try {
      auto peer = std::make_unique<ModelPeer>(*options_.peer, work, compile_);
      if (exact.empty()) exact = work.outputs(work.macs() <= kAffordableMacs ? Dtype::f64 : Dtype::f32);
      peer->compare(work, exact, row);
      return peer;
    } catch (const Error& e) {
      row.check = format("FAIL {}", e.what());
      return nullptr;
    }
  }

  void add_memory(ModelWork& work, const ModelPeer* peer, BenchRow& row) const {
    Allocator& memory = allocator(options_.device);
    const auto call = [&] { work.run(), synchronize(options_.device); };
    const int64_t live = memory.stats().live_bytes;
    memory.reset_peak();
    call();
    row.peak_bytes = double(memory.stats().peak_bytes - live);
    if (options_.device != Device::cpu()) return;
    memory.trim();
    row.process_bytes = peak_growth(call);
    if (peer && row.check == "ok") row.peer_process_bytes = peer->peak_bytes();
  }

  std::function<double()> timed(ModelWork& work) const {
    return [this, &work] {
      return time_calls([&] { work.run(); }, [this] { synchronize(options_.device); },
                        options_.device.type == DeviceType::cuda, options_.budget_ms);
    };
  }

  const BenchOptions& options_;
  bool compile_;
  Peaks& peaks_;
};

}  // namespace

std::vector<ModelSetup> model_setups(const ModelBenchOptions& options) {
  using Rpes = std::vector<std::optional<std::string>>;
  const bool own = options.model.empty();
  const std::string model = !own ? options.model : options.training ? "deit_tiny_patch4_32" : "deit_small_patch16_224";
  std::vector<int64_t> batches = {32};
  if (!options.training) batches = own ? std::vector<int64_t>{1, 8} : std::vector<int64_t>{1};
  if (options.batch > 0) batches = {options.batch};
  Rpes rpes = {std::nullopt};
  if (own) rpes = {std::nullopt, "rpe-1.9-product-ctx-1-k", "rpe-1.9-product-ctx-1-qkv"};
  if (options.rpe) rpes = {options.rpe};
  std::vector<ModelSetup> list;
  for (const int64_t batch : batches)
    for (const auto& rpe : rpes)
      list.push_back({.model = model, .batch = batch, .rpe = rpe, .training = options.training});
  return list;
}

std::vector<BenchRow> bench_models(const BenchOptions& options, const ModelBenchOptions& which) {
  Peaks peaks;
  const Measurement measurement(options, which.compile, peaks);
  std::vector<BenchRow> rows;
  for (const ModelSetup& setup : model_setups(which)) {
    const std::string name = format("{}: b{}, {}", setup.model, setup.batch, setup.rpe.value_or("none"));
    if (name.find(options.filter) == std::string::npos) continue;
    nn::NamedTensors exact;
    for (const Dtype dtype : options.dtypes) {
      rows.push_back(measurement.row(setup, dtype, exact));
      if (options.report) options.report(rows.back());
    }
  }
  return rows;
}

}  // namespace vitrine::apps
