#include "apps/bench/suite_ops.h"

#include <unistd.h>

#include <filesystem>

#include "apps/bench/adamw.h"
#include "apps/bench/bare_onednn.h"
#include "apps/bench/peak.h"
#include "apps/bench/race.h"
#include "apps/bench/scalar_chain.h"
#include "apps/bench/timing.h"
#include "core/autograd.h"
#include "core/backend.h"
#include "data/checkpoint/safetensors.h"
#include "tests/support/evaluate.h"
#include "tests/support/op_spec.h"

namespace vitrine::apps {
namespace {

using testing::Inputs;
using testing::OpSpec;
using testing::Sample;

nlohmann::json to_json(const Attributes& attributes) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto& [name, value] : attributes)
    std::visit([&, &key = name](const auto& v) { object[key] = v; },
               static_cast<const AttributeValue::variant&>(value));
  return object;
}

/// ||a - b|| / ||b|| over all elements, in f64.
double relative_l2(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = a.to_vector(), y = b.to_vector();
  double difference = 0, norm = 0;
  for (size_t i = 0; i < x.size(); ++i) difference += (x[i] - y[i]) * (x[i] - y[i]), norm += y[i] * y[i];
  return std::sqrt(norm > 0 ? difference / norm : difference);
}

/// Two right answers differ by rounding: one unit for each input, output and saved tensor, and by sums in another
/// order.
double allowed_difference(Dtype d) { return d == Dtype::bf16 ? 2e-2 : 2e-5; }

/// One bench sample in one dtype, ready to run: what both sides are given.
struct Work {
  const OpSpec& spec;
  const Sample& sample;
  Dtype dtype;
  Device device;
  Inputs inputs;
  std::vector<bool> wanted;        ///< inputs that take a gradient
  testing::Outputs outputs;        ///< of one forward
  std::vector<Tensor> cotangents;  ///< one per output
  bool differentiable = false;

  Work(const OpSpec& op, const Sample& s, Dtype d, Device on, uint64_t seed)
      : spec(op), sample(s), dtype(d), device(on), inputs(testing::convert(s.inputs, d, on)) {
    for (size_t i = 0; i < inputs.size(); ++i)
      wanted.push_back(s.differentiable && testing::takes_gradient(op, inputs, i));
    outputs = testing::forward([this](const Inputs& in) { return spec.run(sample, in); }, inputs);
    cotangents = testing::random_cotangents(outputs, d, seed);
    differentiable = testing::contract(record(), cotangents).defined();
  }

  testing::Outputs record() const {
    Inputs leaves;
    for (size_t i = 0; i < inputs.size(); ++i) {
      leaves.push_back(inputs[i].defined() ? inputs[i].detach() : Tensor());
      if (wanted[i]) leaves.back().set_requires_grad();
    }
    return spec.run(sample, leaves);
  }
  void run_forward() const {
    const NoGrad no_grad;
    spec.run(sample, inputs);
  }
  void run_backward() const { testing::contract(record(), cotangents).backward(); }
};

/// The peer's side of a Work: the same tensors, through a file.
class PeerWork {
 public:
  PeerWork(Peer& peer, const Work& work) : peer_(peer), work_(work) {
    data::Safetensors file;
    nlohmann::json inputs = nlohmann::json::array(), cotangents = nlohmann::json::array();
    const auto add = [&](nlohmann::json& names, const std::string& prefix, const std::vector<Tensor>& tensors) {
      for (size_t i = 0; i < tensors.size(); ++i) {
        names.push_back(tensors[i].defined() ? nlohmann::json(prefix + std::to_string(i)) : nlohmann::json());
        if (tensors[i].defined()) file.tensors.emplace_back(names.back(), tensors[i]);
      }
    };
    add(inputs, "in.", work.inputs);
    add(cotangents, "cotangent.", work.cotangents);
    data::write_safetensors(path_, file);
    const auto* attributes = std::get_if<Attributes>(&work.sample.how);
    known_ = peer_.ask({{"cmd", "load"},
                        {"op", work.spec.name},
                        {"attributes", attributes ? to_json(*attributes) : nlohmann::json::object()},
                        {"file", path_},
                        {"inputs", inputs},
                        {"wanted", work.wanted},
                        {"cotangents", cotangents},
                        {"device", name_of(work.device.type)}})["known"];
  }
  ~PeerWork() { std::filesystem::remove(path_); }
  PeerWork(const PeerWork&) = delete;

  /// Whether the peer has this op.
  bool known() const { return known_; }

  /// Fills in check, difference and the peer's choice of implementation.
  void compare(BenchRow& row, bool backward) const {
    const nlohmann::json answer = peer_.ask({{"cmd", "run"}, {"backward", backward}, {"file", path_}});
    const std::string how = answer.value("how", "");
    row.peer += how.empty() ? "" : " (" + how + ")";
    const data::Safetensors theirs = data::read_safetensors(path_);
    testing::Evaluation ours{work_.outputs, {}};
    if (backward)
      ours = testing::evaluate([this](const Inputs& in) { return work_.spec.run(work_.sample, in); }, work_.inputs,
                               work_.wanted, work_.cotangents);
    row.check = "ok", row.difference = 0;
    const auto check_one = [&](const std::string& name, const Tensor& mine) {
      const Tensor* other = theirs.find(name);
      const bool same_shape = other && other->shape() == mine.shape();
      const double difference = same_shape ? relative_l2(mine, *other) : INFINITY;
      if (!(difference <= row.difference)) row.difference = difference;
      if (!(difference <= allowed_difference(work_.dtype)) && row.check == "ok")
        row.check = !other        ? "FAIL " + name + ": missing"
                    : !same_shape ? format("FAIL {}: {} against {}", name, mine, *other)
                                  : format("FAIL {}: relative L2 {}", name, difference);
    };
    for (size_t i = 0; i < ours.outputs.size(); ++i)
      if (ours.outputs[i].defined()) check_one("out." + std::to_string(i), ours.outputs[i]);
    for (size_t i = 0; i < ours.gradients.size(); ++i)
      if (work_.wanted[i]) check_one("grad." + std::to_string(i), ours.gradients[i]);
  }

  double time(bool backward, double budget_ms) const {
    return peer_.ask({{"cmd", "time"}, {"backward", backward}, {"budget_ms", budget_ms}})["ms"];
  }

 private:
  Peer& peer_;
  const Work& work_;
  std::string path_ =
      (std::filesystem::temp_directory_path() / ("vitrine_bench_" + std::to_string(getpid()) + ".safetensors"))
          .string();
  bool known_ = false;
};

void add_rates(BenchRow& row, const Work& work, Peaks& peaks, bool backward) {
  // Sample::bytes is that of f32.
  const double flops = work.sample.flops, bytes = work.sample.bytes * double(size_of(work.dtype)) / 4;
  const double seconds = row.ms * 1e-3;
  if (!backward) {
    row.gflops = flops / seconds * 1e-9;
    row.gbytes_per_s = bytes / seconds * 1e-9;
    if (work.device == Device::cpu()) row.percent_of_peak = peaks.percent(flops, bytes, work.dtype, row.ms);
  } else if (is_product(flops, bytes)) {
    row.gflops = 3 * flops / seconds * 1e-9;
  }
}

BenchRow measure(const BenchOptions& options, const Work& work, const PeerWork* peer, Peaks& peaks, bool backward) {
  BenchRow row;
  row.name = work.spec.name, row.sample = work.sample.label, row.device = to_string(work.device);
  row.dtype = to_string(work.dtype), row.direction = backward ? "forward+backward" : "forward";
  if (peer) {
    row.peer = options.peer_name;
    try {
      peer->compare(row, backward);
    } catch (const Error& e) {
      row.check = format("FAIL {}", e.what());
    }
  }
  const std::function<void()> run = [&] { backward ? work.run_backward() : work.run_forward(); };
  const std::function<void()> finish = [&] { synchronize(work.device); };
  const bool queued = work.device.type == DeviceType::cuda;
  const std::function<void()> bare = backward ? std::function<void()>() : bare_product(work.spec.name, work.inputs);
  Sides sides;
  sides.ours = [&] { return time_calls(run, finish, queued, options.budget_ms); };
  if (peer) sides.peer = [&] { return peer->time(backward, options.budget_ms); };
  if (bare)
    sides.onednn = [&] {
      return time_calls(
          bare, [] {}, false, options.budget_ms);
    };
  race(options, sides, row);
  add_rates(row, work, peaks, backward);
  return row;
}

/// The specs of in-place functions run on copies of their inputs, and the copying would be timed too.
bool is_timed(const OpSpec& spec) { return spec.benches && !spec.name.ends_with('_'); }

bool selected(const BenchOptions& options, const std::string& name, const std::string& label) {
  return (name + ": " + label).find(options.filter) != std::string::npos;
}

}  // namespace

std::vector<std::string> bench_names() {
  std::vector<std::string> names = {kAdamW, kScalarChain};
  for (const OpSpec& spec : testing::op_specs())
    if (is_timed(spec)) names.push_back(spec.name);
  return names;
}

std::vector<BenchRow> bench_ops(const BenchOptions& options) {
  Peaks peaks;
  std::vector<BenchRow> rows;
  const auto finished = [&](const BenchRow& row) {
    rows.push_back(row);
    if (options.report) options.report(row);
  };
  for (const OpSpec& spec : testing::op_specs()) {
    if (!is_timed(spec)) continue;
    testing::Maker maker(options.seed);
    for (const Sample& sample : spec.benches(maker)) {
      if (!selected(options, spec.name, sample.label)) continue;
      for (const Dtype dtype : options.dtypes) {
        if (std::find(sample.dtypes.begin(), sample.dtypes.end(), dtype) == sample.dtypes.end()) continue;
        const Work work(spec, sample, dtype, options.device, options.seed + 1);
        std::unique_ptr<PeerWork> peer;
        if (options.peer) peer = std::make_unique<PeerWork>(*options.peer, work);
        if (peer && !peer->known()) peer.reset();
        finished(measure(options, work, peer.get(), peaks, false));
        if (work.differentiable) finished(measure(options, work, peer.get(), peaks, true));
      }
    }
  }
  if (options.device.type == DeviceType::emulated) return rows;
  if (selected(options, kAdamW, "DeiT-S"))
    for (const BenchRow& row : bench_adamw(options)) finished(row);
  if (selected(options, kScalarChain, ""))
    for (const BenchRow& row : bench_scalar_chain(options)) finished(row);
  return rows;
}

}  // namespace vitrine::apps
