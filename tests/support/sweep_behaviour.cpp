#include <algorithm>
#include <set>

#include "core/allocator.h"
#include "core/cuda/emulator/emulator.h"
#include "core/parallel.h"
#include "tests/support/gradcheck.h"
#include "tests/support/sweep_case.h"
#include "tests/support/threads.h"

/// Properties 7 to 10 and the sweep's test of itself: how an op behaves.
namespace vitrine::testing {
namespace {

Dtype usual_dtype(const Case& c) { return c.allows(Dtype::f32) ? Dtype::f32 : c.sample.dtypes.at(0); }

/// A recorded forward pass of a sample in f64, and every (node, saved tensor) below it.
struct Recorded {
  explicit Recorded(const Case& c, const Inputs& inputs) {
    const EnableGrad recorded;
    const std::vector<bool> wanted = c.wanted(inputs);
    Inputs leaves;
    for (size_t i = 0; i < inputs.size(); ++i) {
      leaves.push_back(inputs[i].defined() ? inputs[i].clone().detach() : Tensor());
      if (wanted[i]) leaves[i].set_requires_grad();
    }
    outputs = c.run(leaves);
    root = contract(outputs, random_cotangents(outputs, Dtype::f64, 8));
    if (!root.defined()) return;
    for (const auto& node : nodes_below(root))
      for (size_t i = 0; i < node->saved.size(); ++i)
        if (node->saved[i].tensor.defined() && node->saved[i].tensor.numel() > 0) saved.emplace_back(node, i);
  }
  const Tensor& tensor(size_t i) const { return saved[i].first->saved[saved[i].second].tensor; }

  Outputs outputs;
  Tensor root;
  std::vector<std::pair<std::shared_ptr<Node>, size_t>> saved;
};

/// Backward must throw once the i-th saved tensor was written, and name an op that saved it.
void change_saved(const Case& c, const Inputs& inputs, size_t i) {
  const Recorded r(c, inputs);
  const std::string what = format("saved tensor {} of {}", r.saved[i].second, r.saved[i].first->name());
  std::set<std::string> savers;
  for (size_t k = 0; k < r.saved.size(); ++k)
    if (r.tensor(k).shares_storage(r.tensor(i))) savers.insert(r.saved[k].first->name());
  {
    const NoGrad no_grad;
    Tensor alias = r.tensor(i).detach();
    alias.raw_mutable_data();
  }
  try {
    r.root.backward();
    c.fail(what + " was changed in place, and backward did not notice");
  } catch (const AutogradError& e) {
    const std::string message = e.what();
    if (std::none_of(savers.begin(), savers.end(), [&](const auto& n) { return message.find(n) != message.npos; }))
      c.fail(format("{} was changed in place, and the error does not name the op: {}", what, message));
  }
}

/// What must not change while an op runs.
struct InputState {
  explicit InputState(const Inputs& inputs) {
    for (const Tensor& x : inputs) {
      versions.push_back(x.defined() ? x.storage()->version() : 0);
      copies.push_back(x.defined() ? x.clone() : Tensor());
    }
  }
  void expect_unchanged(const Case& c, const Inputs& inputs, const std::string& note) const {
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!inputs[i].defined()) continue;
      c.expect(compare_bits(copies[i], inputs[i]), argument_name(c.spec, i), note + " wrote to its input");
      if (inputs[i].storage()->version() != versions[i])
        c.fail(format("{} opened its input {} for writing", note, argument_name(c.spec, i)));
    }
  }
  std::vector<uint64_t> versions;
  std::vector<Tensor> copies;
};

void expect_nothing_recorded(const Case& c, const Inputs& inputs) {
  const std::vector<bool> wanted = c.wanted(inputs);
  Inputs leaves;
  for (size_t i = 0; i < inputs.size(); ++i) {
    leaves.push_back(inputs[i].defined() ? inputs[i].detach() : Tensor());
    if (wanted[i]) leaves[i].set_requires_grad();
  }
  const Outputs outputs = forward(c.runner(), leaves);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const bool is_input = std::any_of(leaves.begin(), leaves.end(), [&](const Tensor& x) {
      return x.defined() && outputs[i].defined() && x.same_as(outputs[i]);
    });
    if (outputs[i].defined() && !is_input && (outputs[i].node() || outputs[i].requires_grad()))
      c.fail(format("NoGrad recorded {}", result_name(c.spec, i, outputs.size())));
  }
}

}  // namespace

Failures check_repeatable(const OpSpec& spec, Device device) {
  return for_each_case(spec, "repeatable", device, [&](const Case& c) {
    const Dtype dtype = usual_dtype(c);
    const Inputs inputs = convert(c.sample.inputs, dtype, device);
    const auto run_with = [&](int threads) {
      const ThreadsGuard guard(threads);
      return c.pass(inputs, dtype);
    };
    const Evaluation first = run_with(2);
    c.expect_same(first, run_with(2), kEqualBits, "second run");
    c.expect_same(first, run_with(1), kEqualBits, "1 thread against 2");
  });
}

Failures check_saved(const OpSpec& spec, Device device) {
  constexpr size_t kMost = 24;  // of a composite op's tape: its parts have specs of their own
  return for_each_case(spec, "saved tensors", device, [&](const Case& c) {
    if (!c.sample.differentiable || has_empty_input(c.sample)) return;
    const Inputs inputs = convert(c.sample.inputs, Dtype::f64, device);
    const size_t count = Recorded(c, inputs).saved.size();
    for (size_t i = 0; i < std::min(count, kMost); ++i) change_saved(c, inputs, i);
  });
}

Failures check_hygiene(const OpSpec& spec, Device device) {
  return for_each_case(spec, "hygiene", device, [&](const Case& c) {
    const Dtype dtype = usual_dtype(c);
    const Inputs inputs = convert(c.sample.inputs, dtype, device);
    c.pass(inputs, dtype);  // whatever an op keeps for good (tables, workspaces) exists from here on
    const InputState state(inputs);
    const int64_t before = allocator(device).stats().live_bytes;
    expect_nothing_recorded(c, inputs);
    state.expect_unchanged(c, inputs, "forward");
    c.pass(inputs, dtype);
    state.expect_unchanged(c, inputs, "backward");
    if (const int64_t after = allocator(device).stats().live_bytes; after != before)
      c.fail(format("{} bytes are live after the pass, {} before it", after, before));
    check_guards();
  });
}

Failures check_orders(const OpSpec& spec, Device) {
  using emulator::Order;
  constexpr std::pair<Order, uint64_t> kSchedules[] = {
      {Order::descending, 1}, {Order::priority, 1}, {Order::priority, 2}, {Order::priority, 3},
      {Order::priority, 4},   {Order::priority, 5}, {Order::uniform, 1}};
  constexpr const char* kNames[] = {"ascending", "descending", "priority", "uniform"};
  return for_each_case(spec, "orders", Device::emulated(), [&](const Case& c) {
    for (Dtype dtype : {usual_dtype(c), Dtype::bf16}) {
      if (!c.allows(dtype)) continue;
      const Inputs inputs = convert(c.sample.inputs, dtype, Device::emulated());
      const auto run_with = [&](Order order, uint64_t seed) {
        emulator::Options options = emulator::options();
        options.order = order, options.seed = seed, options.workers = 1;
        const emulator::With with(options);
        return c.pass(inputs, dtype);
      };
      const Evaluation expected = run_with(Order::ascending, 1);
      for (const auto& [order, seed] : kSchedules)
        c.expect_same(expected, run_with(order, seed), kEqualBits,
                      format("{}, order {}, seed {}", dtype, kNames[int(order)], seed));
    }
  });
}

namespace {
/// A node is the op's own unless another spec describes it (a view, or a part of a composite op).
bool own_node(const OpSpec& spec, const std::string& name) {
  return name == spec.name ||
         std::none_of(op_specs().begin(), op_specs().end(), [&](const OpSpec& other) { return other.name == name; });
}

/// The inputs of the nodes that the op itself records for one sample in `dtype`, each with the name of its node. A
/// gradient without elements cannot be wrong.
void find_mutants(const Case& c, Dtype dtype, std::set<std::pair<std::string, int>>& mutants) {
  const Recorded r(c, convert(c.sample.inputs, dtype, Device::cpu()));
  if (!r.root.defined()) return;
  for (const auto& node : nodes_below(r.root)) {
    if (!own_node(c.spec, node->name()) || node->name() == r.root.node()->name()) continue;
    for (int i = 0; i < int(node->edges.size()); ++i) {
      const Edge& edge = node->edges[i];
      if (edge.wanted() && !(edge.leaf.defined() && edge.leaf.numel() == 0)) mutants.emplace(node->name(), i);
    }
  }
}
}  // namespace

std::vector<Falsification> falsify_vjps(const OpSpec& spec) {
  constexpr double kFactors[] = {3, 1.001};
  std::vector<Sample> samples = sweep_samples(spec);
  std::erase_if(samples, [](const Sample& s) { return !s.differentiable || has_empty_input(s); });
  // The falsifications that some sample can show.
  std::set<std::pair<std::string, int>> mutants;
  Failures ignored;
  for (const Sample& sample : samples) {
    const Case c(spec, sample, "sensitivity", Device::cpu(), ignored);
    find_mutants(c, Dtype::f64, mutants);
    if (c.allows(Dtype::f32)) find_mutants(c, Dtype::f32, mutants);
  }
  std::vector<Falsification> result;
  for (const auto& [node, input] : mutants)
    for (double factor : kFactors) {
      const VjpMutation mutation(node, input, factor);
      const bool noticed =
          std::any_of(samples.begin(), samples.end(),
                      [&](const Sample& s) { return !gradcheck(spec, s, Device::cpu()).passed; }) ||
          !check_dtypes(spec, Device::cpu()).empty();  // where only narrow dtypes have the node: a cast to f64
      result.push_back({node, input, factor, noticed});
    }
  return result;
}

Failures check_sensitivity(const OpSpec& spec, Device) {
  Failures survivors;
  for (const Falsification& f : falsify_vjps(spec))
    if (!f.noticed)
      survivors.push_back(format("{}: the gradient of input {} of node {} times {} passes properties 3 and 4",
                                 spec.name, f.input, f.node, f.factor));
  return survivors;
}

}  // namespace vitrine::testing
