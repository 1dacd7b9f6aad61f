#include "tests/support/sweep.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>

#include "core/backend.h"
#include "core/cuda/emulator/emulator.h"
#include "tests/support/gradcheck.h"
#include "tests/support/layouts.h"
#include "tests/support/sweep_case.h"

/// Properties 1 to 6, 11 and 13: what an op computes. Those of how it behaves are in sweep_behaviour.cpp.
namespace vitrine::testing {
namespace {

bool floating(const Case& c) {
  return std::any_of(c.sample.inputs.begin(), c.sample.inputs.end(),
                     [](const Tensor& x) { return x.defined() && is_floating(x.dtype()); });
}

/// `x` moved and cast without recording; undefined stays undefined.
std::vector<Tensor> moved(const std::vector<Tensor>& tensors, const std::vector<Tensor>& like) {
  const NoGrad no_grad;
  std::vector<Tensor> result;
  for (size_t i = 0; i < tensors.size(); ++i)
    result.push_back(tensors[i].defined() ? tensors[i].to(like[i].dtype()).to(like[i].device()) : Tensor());
  return result;
}

void compare_with_f64(const Case& c, Dtype dtype, Device device) {
  const Inputs rounded = convert(c.sample.inputs, dtype, Device::cpu());
  const Inputs exact = convert(rounded, Dtype::f64, Device::cpu());
  const std::vector<Tensor> cotangents = c.sample.differentiable ? c.cotangents(exact, dtype) : std::vector<Tensor>();
  const Evaluation expected = c.pass(exact, cotangents);
  const Inputs there = convert(rounded, dtype, device);
  const Outputs values = forward(c.runner(), there);
  const Evaluation got =
      c.sample.differentiable ? c.pass(there, moved(cotangents, values)) : Evaluation{values, expected.gradients};
  for (size_t i = 0; i < got.outputs.size(); ++i)
    if (got.outputs[i].defined() && !there.empty() && !(got.outputs[i].device() == device))
      c.fail(format("{} is on {}", result_name(c.spec, i, got.outputs.size()), got.outputs[i].device()));
  for (size_t i = 0; i < got.gradients.size(); ++i)
    if (got.gradients[i].defined() && c.sample.differentiable && got.gradients[i].dtype() != there[i].dtype())
      c.fail(format("gradient of {} is {}, the input is {}", argument_name(c.spec, i), got.gradients[i], there[i]));
  c.expect_written(got, to_string(dtype));
  c.expect_same(expected, got, c.tolerance(dtype), to_string(dtype));
  // sqrt(k) roundings of an f32 are little; of 16 bits they are so much that a factor hides in them.
  if (c.sample.reduction > 1 && size_of(dtype) == 2) c.expect_near(expected, got, dtype, to_string(dtype));
}

/// What the emulated device has done so far: threads run, and switches between them.
uint64_t emulated_work() { return emulator::stats().threads + emulator::stats().switches; }

/// Values and gradients with inputs (and cotangents) in other layouts, against the same values contiguous: all of them,
/// then one at a time. Returns which were laid out alone: where that is much work, those alone that are not `done`, as
/// the others show no more than they did in another sample.
std::set<size_t> compare_layouts(const Case& c, Dtype dtype, Device device, const std::set<size_t>& done) {
  constexpr uint64_t kMuch = 30'000;
  const Inputs plain = convert(c.sample.inputs, dtype, device);
  const std::vector<Tensor> cotangents = c.sample.differentiable ? c.cotangents(plain, dtype) : std::vector<Tensor>();
  const uint64_t before = emulated_work();
  const Evaluation expected = c.pass(plain, cotangents);
  const bool much = emulated_work() - before > kMuch;
  const double tolerance = c.tolerance(dtype);
  const auto laid_out = [](std::vector<Tensor> list, Layout layout) {
    for (Tensor& x : list) x = with_layout(x, layout);
    return list;
  };
  for (Layout layout : kLayouts)
    c.expect_same(expected, c.pass(laid_out(plain, layout), laid_out(cotangents, layout)), tolerance,
                  format("{}, everything {}", dtype, name_of(layout)));
  std::set<size_t> alone;
  for (size_t i = 0; i < plain.size(); ++i) {
    if (!plain[i].defined() || (much && done.count(i))) continue;
    alone.insert(i);
    if (plain.size() == 1) continue;
    Inputs one = plain;
    one[i] = with_layout(plain[i], Layout::reversed);
    c.expect_same(expected, c.pass(one, cotangents), tolerance,
                  format("{}, only {} reversed", dtype, argument_name(c.spec, i)));
  }
  return alone;
}

/// A broadcast view in place of each floating input among `some`, against a copy of that view.
void compare_expanded(const Case& c, Dtype dtype, Device device, const std::set<size_t>& some) {
  const Inputs plain = convert(c.sample.inputs, dtype, device);
  for (size_t i : some) {
    if (!takes_gradient(c.spec, plain, i)) continue;
    Inputs view = plain, copy = plain;
    view[i] = expanded_slice(plain[i]);
    if (!view[i].defined()) continue;
    copy[i] = view[i].clone();
    Evaluation expected;
    try {
      expected = c.pass(copy, dtype);
    } catch (const Error&) {
      continue;  // repeated values are not legal for this input, however they lie in memory
    }
    c.expect_same(expected, c.pass(view, dtype), c.tolerance(dtype),
                  format("{}, {} expanded", dtype, argument_name(c.spec, i)));
  }
}

void compare_with_emulated(const Case& c, Dtype dtype, Device device) {
  const Inputs emulated = convert(c.sample.inputs, dtype, Device::emulated());
  const Inputs there = convert(emulated, dtype, device);
  const std::vector<Tensor> cotangents =
      c.sample.differentiable ? c.cotangents(emulated, dtype) : std::vector<Tensor>();
  const Evaluation got = c.pass(there, moved(cotangents, forward(c.runner(), there)));
  c.expect_same(c.pass(emulated, cotangents), got, c.tolerance(dtype), format("{}, against emulated", dtype));
}

}  // namespace

std::vector<const OpSpec*> selected_specs() {
  const char* text = std::getenv("VITRINE_SWEEP_OPS");
  std::set<std::string> wanted;
  std::stringstream list(text ? text : "");
  for (std::string name; std::getline(list, name, ',');) wanted.insert(name);
  std::vector<const OpSpec*> result;
  for (const OpSpec& spec : op_specs())
    if (wanted.empty() || wanted.count(spec.name) || wanted.count(spec.folder)) result.push_back(&spec);
  check<ValueError>(!result.empty() || op_specs().empty(), "VITRINE_SWEEP_OPS={} selects no op", text ? text : "");
  return result;
}

bool device_present(Device device) {
  const Backend* backend = find_backend(device.type);
  return backend && device.index < backend->device_count();
}

Failures check_errors(const OpSpec& spec, Device) {
  Failures failures;
  if (!spec.errors) return failures;
  Maker maker(1);
  for (const ErrorSample& sample : spec.errors(maker)) {
    try {
      sample.call();
      failures.push_back(format("{}: no error, expected: {}", spec.name, sample.message));
    } catch (const Error& e) {
      if (e.what() != sample.message)
        failures.push_back(
            format("{}: wrong message\n  got:      {}\n  expected: {}", spec.name, e.what(), sample.message));
    } catch (const std::exception& e) {
      failures.push_back(
          format("{}: not an error of the library: {}\n  expected: {}", spec.name, e.what(), sample.message));
    }
  }
  return failures;
}

Failures check_reference(const OpSpec& spec, Device device) {
  const OpSpec::Call& definition = spec.reference ? spec.reference : spec.values;
  if (!definition) return {};
  return for_each_case(spec, "reference", device, [&](const Case& c) {
    const Inputs inputs = convert(c.sample.inputs, Dtype::f64, device);
    const auto* attributes = std::get_if<Attributes>(&c.sample.how);
    const auto plain = [&](Inputs in) {
      if (in.size() < spec.arguments.size()) in.resize(spec.arguments.size());
      return definition(in, attributes ? *attributes : Attributes());
    };
    if (!c.sample.differentiable || !spec.reference) {
      const std::vector<Tensor> none(inputs.size());
      return c.expect_same({forward(plain, inputs), none}, {forward(c.runner(), inputs), none}, c.tolerance(Dtype::f64),
                           "against the definition");
    }
    const std::vector<Tensor> cotangents = c.cotangents(inputs, Dtype::f64);
    c.expect_same(evaluate(plain, inputs, c.wanted(inputs), cotangents), c.pass(inputs, cotangents),
                  c.tolerance(Dtype::f64), "against the definition");
  });
}

Failures check_gradients(const OpSpec& spec, Device device) {
  return for_each_case(spec, "gradient", device, [&](const Case& c) {
    const GradcheckResult r = gradcheck(spec, c.sample, device);
    if (!r.passed) c.fail(format("error {} exceeds {}; {}", r.max_error, r.tolerance, r.detail));
  });
}

Failures check_dtypes(const OpSpec& spec, Device device) {
  return for_each_case(spec, "dtypes", device, [&](const Case& c) {
    for (Dtype dtype : c.sample.dtypes) {
      if (device == Device::cpu() && dtype == Dtype::f64 && floating(c)) continue;  // f64 on the CPU is the yardstick
      compare_with_f64(c, dtype, device);
      if (!floating(c)) break;  // no input follows the dtype
    }
  });
}

Failures check_layouts(const OpSpec& spec, Device device) {
  std::map<Dtype, std::set<size_t>> done;
  return for_each_case(spec, "layouts", device, [&](const Case& c) {
    for (Dtype dtype : {Dtype::f32, Dtype::bf16}) {
      if (!c.allows(dtype)) continue;
      const std::set<size_t> alone = compare_layouts(c, dtype, device, done[dtype]);
      compare_expanded(c, dtype, device, alone);
      done[dtype].insert(alone.begin(), alone.end());
      if (!floating(c)) break;
    }
  });
}

Failures check_empty(const OpSpec& spec, Device device) {
  bool found = false;
  Failures failures = for_each_case(spec, "empty dims", device, [&](const Case& c) {
    if (!has_empty_input(c.sample)) return;
    found = true;
    const Dtype dtype = c.allows(Dtype::f32) ? Dtype::f32 : c.sample.dtypes.at(0);
    const Evaluation expected = c.pass(convert(c.sample.inputs, dtype, Device::cpu()), dtype);
    const Evaluation got = c.pass(convert(c.sample.inputs, dtype, device), dtype);
    c.expect_written(got, to_string(dtype));
    c.expect_same(expected, got, c.tolerance(dtype), to_string(dtype));
  });
  if (!found && spec.never_empty.empty())
    failures.push_back(format("{}: no sample has an empty dim (or say why in .never_empty)", spec.name));
  return failures;
}

Failures check_partial(const OpSpec& spec, Device device) {
  return for_each_case(spec, "one gradient alone", device, [&](const Case& c) {
    const Inputs inputs = convert(c.sample.inputs, Dtype::f64, device);
    const std::vector<bool> all = c.wanted(inputs);
    if (std::count(all.begin(), all.end(), true) < 2) return;
    const std::vector<Tensor> cotangents = c.cotangents(inputs, Dtype::f64);
    const Evaluation together = evaluate(c.runner(), inputs, all, cotangents);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!all[i]) continue;
      std::vector<bool> only(inputs.size());
      only[i] = true;
      const Evaluation alone = evaluate(c.runner(), inputs, only, cotangents);
      c.expect(compare(together.gradients[i], alone.gradients[i], c.tolerance(Dtype::f64)),
               "gradient of " + argument_name(spec, i), "wanted alone");
      for (size_t j = 0; j < inputs.size(); ++j)
        if (j != i && alone.gradients[j].defined())
          c.fail(format("{} got a gradient that nobody wants", argument_name(spec, j)));
    }
  });
}

Failures check_emulated(const OpSpec& spec, Device device) {
  return for_each_case(spec, "agrees with emulated", device, [&](const Case& c) {
    for (Dtype dtype : c.sample.dtypes) {
      compare_with_emulated(c, dtype, device);
      if (!floating(c)) break;
    }
  });
}

}  // namespace vitrine::testing
