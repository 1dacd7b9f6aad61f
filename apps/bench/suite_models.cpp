#include "apps/bench/suite_models.h"

#include <cmath>

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

const char* pass_of(const ModelSetup& setup) { return setup.training ? "training step" : "inference"; }

class Measurement {
 public:
  Measurement(const BenchOptions& options, bool compile, Peaks& peaks)
      : options_(options), compile_(compile), peaks_(peaks) {}

  /// @param exact  the outputs to compare with; filled in by the first row of a setup that needs them
  BenchRow row(const ModelSetup& setup, Dtype dtype, nn::NamedTensors& exact) const {
    ModelWork work(setup, dtype, options_.device, options_.seed);
    // Before either runs: a model made from memory that another one's run gave back was up to 2.7 % faster.
    std::unique_ptr<ModelWork> plain;
    if (work.has_rpe()) {
      ModelSetup without = setup;
      without.rpe = "none";
      plain = std::make_unique<ModelWork>(without, dtype, options_.device, options_.seed);
    }
    BenchRow row;
    row.name = setup.model, row.sample = work.label(), row.device = to_string(options_.device);
    row.dtype = to_string(dtype), row.direction = pass_of(setup);
    const std::unique_ptr<ModelPeer> peer = checked_peer(work, exact, row);
    work.run();
    const Memory memory = memory_of(work);
    row.peak_bytes = memory.tensors, row.process_bytes = memory.process;
    if (peer && row.check == "ok" && options_.device == Device::cpu()) row.peer_process_bytes = peer->peak_bytes();
    Sides sides{.ours = timed(work)};
    if (peer) sides.peer = [&] { return peer->time(options_.budget_ms); };
    if (plain) {
      plain->run();
      row.rpe_memory_tax = 100 * (memory.largest() / memory_of(*plain).largest() - 1);
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

  /// Peak of one call: of tensors beyond what lives between calls, and of the process (on a CPU), which has the scratch
  /// of kernels as well.
  struct Memory {
    double tensors, process = NAN;
    double largest() const { return std::isnan(process) ? tensors : process; }
  };
  Memory memory_of(ModelWork& work) const {
    Allocator& memory = allocator(options_.device);
    const auto call = [&] { work.run(), synchronize(options_.device); };
    const int64_t live = memory.stats().live_bytes;
    memory.reset_peak();
    call();
    Memory found{double(memory.stats().peak_bytes - live)};
    found.tensors += double(work.graph_bytes());
    if (options_.device != Device::cpu()) return found;
    memory.trim();
    found.process = peak_growth(call);
    return found;
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
  const bool own = options.model.empty(), of_rpe = options.suite == ModelSuite::rpe;
  std::vector<ModelSetup> list;
  const auto add = [&](bool training, const char* model, std::vector<int64_t> batches, Rpes rpes) {
    if (!own && !of_rpe) batches = {batches.front()}, rpes = {std::nullopt};
    if (options.batch > 0) batches = {options.batch};
    if (options.rpe) rpes = {options.rpe};
    for (const int64_t batch : batches)
      for (const auto& rpe : rpes)
        list.push_back({.model = own ? model : options.model,
                        .batch = batch,
                        .rpe = rpe,
                        .training = training,
                        .graph = options.graph});
  };
  const Rpes few = {std::nullopt, "rpe-1.9-product-ctx-1-k", "rpe-1.9-product-ctx-1-qkv"};
  const Rpes methods = {"none",
                        "rpe-20-euc-ctx-1-k",
                        "rpe-33-quant-ctx-1-k",
                        "rpe-20-cross-ctx-1-k",
                        "rpe-1.9-product-ctx-1-k",
                        "rpe-1.9-product-bias-0-k",
                        "rpe-1.9-product-ctx-1-q",
                        "rpe-1.9-product-ctx-1-qk",
                        "rpe-1.9-product-ctx-1-v",
                        "rpe-1.9-product-ctx-1-qkv"};
  constexpr const char* kSmall = "deit_small_patch16_224";
  if (options.suite == ModelSuite::train) add(true, "deit_tiny_patch4_32", {32}, few);
  if (options.suite == ModelSuite::infer) add(false, kSmall, {1, 8}, few);
  if (of_rpe) add(false, kSmall, {1, 8}, methods), add(true, kSmall, {1, 8}, methods);
  return list;
}

std::vector<BenchRow> bench_models(const BenchOptions& options, const ModelBenchOptions& which) {
  Peaks peaks;
  const Measurement measurement(options, which.compile, peaks);
  std::vector<BenchRow> rows;
  for (const ModelSetup& setup : model_setups(which)) {
    const std::string name =
        format("{}: b{}, {}, {}", setup.model, setup.batch, setup.rpe.value_or("none"), pass_of(setup));
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
