#include "tests/support/evaluate.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <unordered_map>

namespace vitrine::testing {
namespace {

struct Mutation {
  std::string node;
  int input = -1;
  double factor = 3;
};

/// VITRINE_MUTATE_VJP=node[:input[:factor]]
Mutation mutation_from_environment() {
  Mutation m;
  const char* text = std::getenv("VITRINE_MUTATE_VJP");
  if (!text) return m;
  const std::string s = text;
  const size_t first = s.find(':'), second = first == s.npos ? s.npos : s.find(':', first + 1);
  m.node = s.substr(0, first);
  if (first != s.npos) m.input = std::stoi(s.substr(first + 1));
  if (second != s.npos) m.factor = std::stod(s.substr(second + 1));
  return m;
}

Mutation& mutation() {
  static Mutation m = mutation_from_environment();
  return m;
}

/// sum_i <c_i, out_i> as far as backward is concerned: its value is never read, its vjp hands out the cotangents.
struct Contract {
  static constexpr const char* name = "contract";
  std::vector<Tensor> cotangents;
  Tensor forward(Saver&, std::span<const Tensor>) const { return scalar(0, {.dtype = Dtype::f64}); }
  Gradients vjp(const Saved&, const Tensor&) const { return cotangents; }
};

/// `gradient` times factor; where it is zero (or undefined, which means zero), the factor itself.
Tensor wrong(const Edge& edge, const Tensor& gradient, double factor) {
  if (!gradient.defined()) {
    if (!edge.wanted()) return gradient;
    if (edge.leaf.defined()) return full(edge.leaf.shape(), factor, edge.leaf.options());
    const OutputInfo& info = edge.node->outputs[edge.index];
    return full(info.shape, factor, info.options);
  }
  std::vector<double> values = gradient.to_vector();
  const bool zero = std::all_of(values.begin(), values.end(), [](double v) { return v == 0; });
  for (double& v : values) v = zero ? factor : v * factor;
  return from_vector(values, gradient.shape(), gradient.options());
}

/// Stands in for `original` on the tape and falsifies its gradients.
struct WrongNode final : Node {
  explicit WrongNode(std::shared_ptr<Node> node) : original(std::move(node)) {
    sequence = original->sequence, edges = original->edges, outputs = original->outputs;
    module_path = original->module_path, hooks = original->hooks;
  }
  const char* name() const override { return original->name(); }
  Attributes attributes() const override { return original->attributes(); }
  Gradients vjp(std::span<const Tensor> douts) const override {
    Gradients g = original->vjp(douts);
    for (int i = 0; i < int(g.size()); ++i)
      if (mutation().input < 0 || mutation().input == i) g[i] = wrong(edges[i], g[i], mutation().factor);
    return g;
  }
  std::shared_ptr<Node> original;
};

void plant_wrong_nodes(const Tensor& root) {
  std::unordered_map<Node*, std::shared_ptr<Node>> replaced;
  for (const auto& node : nodes_below(root))
    for (Edge& edge : node->edges) {
      if (!edge.node || edge.node->name() != mutation().node) continue;
      auto& stand_in = replaced[edge.node.get()];
      if (!stand_in) stand_in = std::make_shared<WrongNode>(edge.node);
      edge.node = stand_in;
    }
  // A stand-in copied its edges before they were redirected.
  for (auto& [original, stand_in] : replaced) stand_in->edges = original->edges;
}

/// A copy of the contiguous `dense` whose dims lie in memory in the order of those of `like`.
Tensor in_order_of(const Tensor& dense, const Tensor& like) {
  if (like.is_contiguous()) return dense;
  Shape order, inverse = like.shape();
  for (int64_t d = 0; d < like.dim(); ++d) order.push_back(d);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return like.stride(a) > like.stride(b); });
  for (int64_t d = 0; d < like.dim(); ++d) inverse[order[d]] = d;
  return dense.permute(order).contiguous().permute(inverse);
}

}  // namespace

bool takes_gradient(const OpSpec& spec, const Inputs& inputs, size_t i) {
  if (!inputs[i].defined() || !is_floating(inputs[i].dtype())) return false;
  return i >= spec.arguments.size() ||
         std::find(spec.constants.begin(), spec.constants.end(), spec.arguments[i]) == spec.constants.end();
}

std::string argument_name(const OpSpec& spec, size_t i) {
  return i < spec.arguments.size() ? spec.arguments[i] : format("input {}", i);
}

std::string result_name(const OpSpec& spec, size_t i, size_t count) {
  if (i < spec.results.size()) return spec.results[i];
  return count == 1 ? "out" : format("output {}", i);
}

Inputs convert(const Inputs& inputs, Dtype dtype, Device device) {
  const NoGrad no_grad;
  Inputs result;
  for (const Tensor& x : inputs) {
    if (!x.defined()) {
      result.emplace_back();
      continue;
    }
    const Tensor dense = (is_floating(x.dtype()) ? x.to(dtype) : x).contiguous().to(device);
    result.push_back(in_order_of(dense, x));
  }
  return result;
}

std::vector<Tensor> random_cotangents(const Outputs& outputs, Dtype dtype, uint64_t seed) {
  const NoGrad no_grad;
  Generator generator{seed, 0};
  std::vector<Tensor> result;
  for (const Tensor& y : outputs) {
    const bool wanted = y.defined() && is_floating(y.dtype());
    result.push_back(
        wanted ? random_normal(y.shape(), generator, 0, 1, {.dtype = Dtype::f64}).to(dtype).to(y.dtype()).to(y.device())
               : Tensor());
  }
  return result;
}

Outputs forward(const Runner& run, const Inputs& inputs) {
  const NoGrad no_grad;
  return run(inputs);
}

Tensor contract(const Outputs& outputs, const std::vector<Tensor>& cotangents) {
  const EnableGrad recorded;
  const Tensor root = apply(Contract{cotangents}, std::span<const Tensor>(outputs));
  return root.requires_grad() ? root : Tensor();
}

Evaluation evaluate(const Runner& run, const Inputs& inputs, const std::vector<bool>& wanted,
                    const std::vector<Tensor>& cotangents) {
  const EnableGrad recorded;
  Inputs leaves;
  for (size_t i = 0; i < inputs.size(); ++i) {
    leaves.push_back(inputs[i].defined() ? inputs[i].detach() : Tensor());
    if (wanted[i]) leaves[i].set_requires_grad();
  }
  Evaluation result;
  result.outputs = run(leaves);
  if (const Tensor root = contract(result.outputs, cotangents); root.defined()) {
    if (!mutation().node.empty()) plant_wrong_nodes(root);
    root.backward();
  }
  for (Tensor& y : result.outputs)
    if (y.defined()) y = y.detach();
  for (size_t i = 0; i < leaves.size(); ++i) {
    const Tensor g = wanted[i] ? leaves[i].grad() : Tensor();
    result.gradients.push_back(wanted[i] && !g.defined() ? zeros_like(inputs[i]) : g);
  }
  return result;
}

std::vector<std::shared_ptr<Node>> nodes_below(const Tensor& root) {
  std::vector<std::shared_ptr<Node>> found, waiting{root.node()};
  while (!waiting.empty()) {
    const std::shared_ptr<Node> node = waiting.back();
    waiting.pop_back();
    if (!node || std::find(found.begin(), found.end(), node) != found.end()) continue;
    found.push_back(node);
    for (const Edge& edge : node->edges) waiting.push_back(edge.node);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a->sequence > b->sequence; });
  return found;
}

VjpMutation::VjpMutation(std::string node, int input, double factor) {
  mutation() = {.node = std::move(node), .input = input, .factor = factor};
}
VjpMutation::~VjpMutation() { mutation() = mutation_from_environment(); }

std::string digits(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.12g", x);
  return text;
}

std::string index_text(const Shape& shape, int64_t i) {
  Shape index = shape;
  for (int64_t d = shape.size() - 1; d >= 0; --d) index[d] = i % shape[d], i /= shape[d];
  return to_string(index);
}

namespace {
struct Excess {
  double over, allowed;
};

template <class F>
std::string worst(const Tensor& expected, const Tensor& got, F&& excess) {
  if (!expected.defined() || !got.defined() || !(expected.shape() == got.shape()))
    return format(" is {}, expected {}", got, expected);
  const std::vector<double> a = expected.to_vector(), b = got.to_vector();
  double most = 0;
  std::string result;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto [over, allowed] = excess(a[i], b[i]);
    if (!(over > most)) continue;
    most = over;
    result = format("{} is {}, expected {}, allowed difference {}", index_text(expected.shape(), int64_t(i)), b[i],
                    a[i], allowed);
  }
  return result;
}
}  // namespace

std::string compare(const Tensor& expected, const Tensor& got, double tolerance) {
  // An output stored in fewer bits than it was computed in (a bf16 copy of f32 weights) may fall on either side of a
  // tie.
  if (tolerance > 0 && got.defined() && is_floating(got.dtype())) tolerance = std::max(tolerance, epsilon(got.dtype()));
  const bool exact = got.defined() && !is_floating(got.dtype());
  return worst(expected, got, [&](double a, double b) -> Excess {
    const double allowed = exact ? 0 : tolerance * (1 + std::abs(a));
    if (a == b || (std::isnan(a) && std::isnan(b))) return {0, allowed};
    if (!std::isfinite(a) || !std::isfinite(b)) return {INFINITY, allowed};
    return {std::abs(a - b) - allowed, allowed};
  });
}

std::string compare_norms(const Tensor& expected, const Tensor& got, double tolerance, double floor) {
  if (!expected.defined() || !got.defined() || !(expected.shape() == got.shape()))
    return format(" is {}, expected {}", got, expected);
  const std::vector<double> a = expected.to_vector(), b = got.to_vector();
  double distance = 0, size = 0;
  int64_t count = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] && !std::isfinite(a[i])) continue;
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    distance += (a[i] - b[i]) * (a[i] - b[i]), size += a[i] * a[i], ++count;
  }
  if (count == 0) return {};
  distance = std::sqrt(distance / double(count)), size = std::sqrt(size / double(count));
  if (distance <= tolerance * (size + floor)) return {};
  return format(" is off by {} (root mean square) where {} is expected, allowed {}", distance, size,
                tolerance * (size + floor));
}

std::string compare_bits(const Tensor& expected, const Tensor& got) {
  return worst(expected, got, [](double a, double b) -> Excess {
    const bool same = std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b) || (std::isnan(a) && std::isnan(b));
    return {same ? 0.0 : 1.0, 0};
  });
}

std::string unwritten(const Tensor& x) {
  if (!x.defined() || !is_floating(x.dtype())) return {};
  const NoGrad no_grad;
  const Tensor here = x.to(Device::cpu()).contiguous();
  const auto* bytes = static_cast<const unsigned char*>(here.raw_data());
  const int64_t size = size_of(x.dtype());
  for (int64_t i = 0; i < x.numel(); ++i)
    if (std::all_of(bytes + i * size, bytes + (i + 1) * size, [](unsigned char b) { return b == 0xFF; }))
      return index_text(x.shape(), i);
  return {};
}

}  // namespace vitrine::testing
