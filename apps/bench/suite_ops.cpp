#include "apps/bench/suite_ops.h"

#include <unistd.h>

#include <filesystem>

#include "apps/bench/adamw.h"
#include "apps/bench/bare_onednn.h"
#include "apps/bench/distance.h"
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

/// Beyond this the peer computes something else, and its time means nothing.
double absurd(Dtype d) { return d == Dtype::bf16 ? 0.1 : 1e-3; }

/// One bench sample in one dtype, ready to run: what both sides are given.
struct Work {
  const OpSpec& spec;
  const Sample& sample;
  Dtype dtype;
  Device device;
  Inputs inputs;
  std::vector<bool> wanted;        ///< inputs that take a gradient
  std::vector<Tensor> cotangents;  ///< one per output
  bool differentiable = false;

  Work(const OpSpec& op, const Sample& s, Dtype d, Device on, uint64_t seed)
      : spec(op), sample(s), dtype(d), device(on), inputs(testing::convert(s.inputs, d, on)) {
    for (size_t i = 0; i < inputs.size(); ++i)
      wanted.push_back(s.differentiable && testing::takes_gradient(op, inputs, i));
    const auto run = [this](const Inputs& in) { return spec.run(sample, in); };
    cotangents = testing::random_cotangents(testing::forward(run, inputs), d, seed);
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

  /// Runs both sides once and fills in check and differences: relative L2 distances to the result in f64 from the same
  /// (rounded) inputs. Ours must be at most 1.2 times the peer's, or what rounding explains.
  void compare(BenchRow& row, bool backward) const {
    const nlohmann::json answer = peer_.ask({{"cmd", "run"}, {"backward", backward}, {"file", path_}});
    const std::string how = answer.value("how", "");
    row.peer += how.empty() ? "" : " (" + how + ")";
    const data::Safetensors theirs = data::read_safetensors(path_);
    const testing::Evaluation ours = evaluate(backward, work_.dtype), exact = evaluate(backward, Dtype::f64);
    row.check = "ok", row.difference = row.peer_difference = 0;
    const auto check_one = [&](const std::string& name, const Tensor& mine, const Tensor& right) {
      const Tensor* other = theirs.find(name);
      const bool fits = other && other->shape() == mine.shape();
      const double difference = relative_l2(mine, right),
                   peer_difference = fits ? relative_l2(*other, right) : INFINITY;
      row.difference = std::max(row.difference, difference);
      row.peer_difference = std::max(row.peer_difference, peer_difference);
      const bool same_function = peer_difference <= absurd(work_.dtype);
      const bool exact_enough = difference <= std::max(1.2 * peer_difference, rounding(work_.dtype));
      if ((same_function && exact_enough) || row.check != "ok") return;
      row.check = !other  ? "FAIL " + name + ": the peer has none"
                  : !fits ? format("FAIL {}: {}, the peer's is {}", name, mine, *other)
                          : format("FAIL {}: relative L2 {}, the peer's {}", name, difference, peer_difference);
    };
    for (size_t i = 0; i < ours.outputs.size(); ++i)
      if (ours.outputs[i].defined()) check_one("out." + std::to_string(i), ours.outputs[i], exact.outputs[i]);
    for (size_t i = 0; i < ours.gradients.size(); ++i)
      if (work_.wanted[i]) check_one("grad." + std::to_string(i), ours.gradients[i], exact.gradients[i]);
  }

  double time(bool backward, double budget_ms) const {
    return peer_.ask({{"cmd", "time"}, {"backward", backward}, {"budget_ms", budget_ms}})["ms"];
  }

 private:
  testing::Evaluation evaluate(bool backward, Dtype dtype) const {
    const auto run = [this](const Inputs& in) { return work_.spec.run(work_.sample, in); };
    const Inputs inputs = testing::convert(work_.inputs, dtype, work_.device);
    if (!backward) return {testing::forward(run, inputs), {}};
    std::vector<Tensor> cotangents;
    for (size_t i = 0; i < work_.cotangents.size(); ++i) {
      const Tensor& c = work_.cotangents[i];
      cotangents.push_back(c.defined() && dtype == Dtype::f64 ? c.to(dtype) : c);
    }
    return testing::evaluate(run, inputs, work_.wanted, cotangents);
  }

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
    if (flops > 0) row.gflops = flops / seconds * 1e-9;
    row.gbytes_per_s = bytes / seconds * 1e-9;
    if (work.device == Device::cpu()) {
      row.percent_of_peak = peaks.percent(flops, bytes, work.dtype, row.ms);
      if (!is_product(flops, bytes)) row.percent_of_dram = 100 * bytes / seconds / peaks.dram();
    }
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

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// A filter that is part of an op's name selects by name, so that the inputs of other ops are not even made; any other
/// selects by "op: sample".
class Filter {
 public:
  explicit Filter(const std::string& text) : text_(text) {
    for (const std::string& name : bench_names()) by_name_ = by_name_ || contains(name, text);
    op_ = text.substr(0, text.find(": "));
    has_op_ = contains(text, ": ");
  }
  bool may_take(const std::string& op) const { return by_name_ ? contains(op, text_) : !has_op_ || op.ends_with(op_); }
  bool takes(const std::string& op, const std::string& label) const {
    return may_take(op) && (by_name_ || contains(op + ": " + label, text_));
  }

 private:
  std::string text_, op_;
  bool by_name_ = false, has_op_ = false;
};

}  // namespace

std::vector<std::string> bench_names() {
  std::vector<std::string> names = {kAdamW, kScalarChain};
  for (const OpSpec& spec : testing::op_specs())
    if (is_timed(spec)) names.push_back(spec.name);
  return names;
}

std::vector<BenchRow> bench_ops(const BenchOptions& options) {
  Peaks peaks;
  const Filter filter(options.filter);
  std::vector<BenchRow> rows;
  const auto finished = [&](const BenchRow& row) {
    rows.push_back(row);
    if (options.report) options.report(row);
  };
  for (const OpSpec& spec : testing::op_specs()) {
    if (!is_timed(spec) || !filter.may_take(spec.name)) continue;
    testing::Maker maker(options.seed);
    for (const Sample& sample : spec.benches(maker)) {
      if (!filter.takes(spec.name, sample.label)) continue;
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
  if (filter.takes(kAdamW, "DeiT-S"))
    for (const BenchRow& row : bench_adamw(options, peaks)) finished(row);
  if (filter.takes(kScalarChain, "1000000 ops"))
    for (const BenchRow& row : bench_scalar_chain(options)) finished(row);
  return rows;
}

}  // namespace vitrine::apps
