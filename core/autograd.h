#pragma once
#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/attributes.h"
#include "core/pool.h"
#include "core/tensor.h"
#include "core/trace.h"

/// Reverse-mode differentiation on a tape (architecture section 3). An op is a struct:
///
///     struct Square {
///       static constexpr const char* name = "square";
///       Attributes attributes() const { return {}; }                       // optional
///       Tensor forward(Saver& save, const Tensor& x) const { save(x); ... }  // recording is off in here
///       Gradients vjp(const Saved& saved, const Tensor& dy) const { return {...}; }  // one gradient per input
///     };
///     Tensor square(const Tensor& x) { return apply(Square{}, x); }
///
/// An op with N outputs returns std::array<Tensor, N> and its vjp takes N gradients; one with any number of outputs
/// returns std::vector<Tensor> and its vjp takes std::span<const Tensor>. An op with any number of inputs
/// takes std::span<const Tensor> and is applied to one. An undefined input is an absent argument, an undefined gradient
/// is zero.
namespace vitrine {

/// What a vjp returns: the gradient of each input in order; undefined ones mean zero.
using Gradients = std::vector<Tensor>;

/// Whether this thread records. NoGrad switches recording off in its scope, EnableGrad on.
bool recording();
class RecordingGuard {
 public:
  explicit RecordingGuard(bool on);
  ~RecordingGuard();
  RecordingGuard(const RecordingGuard&) = delete;
  RecordingGuard& operator=(const RecordingGuard&) = delete;

 private:
  bool previous_;
};
struct NoGrad : RecordingGuard {
  NoGrad() : RecordingGuard(false) {}
};
struct EnableGrad : RecordingGuard {
  EnableGrad() : RecordingGuard(true) {}
};

/// In its scope, the first op whose output or gradient holds a NaN or an infinity throws AutogradError naming op,
/// direction and module.
class AnomalyGuard {
 public:
  AnomalyGuard();
  ~AnomalyGuard();
  AnomalyGuard(const AnomalyGuard&) = delete;
  AnomalyGuard& operator=(const AnomalyGuard&) = delete;

 private:
  bool previous_;
};

/// A tensor kept for backward, with the storage version it had.
struct SavedTensor {
  Tensor tensor;
  uint64_t version = 0;
};

using SavedTensors = std::vector<SavedTensor, PoolAllocator<SavedTensor>>;

/// Collects what `forward` wants to see again in `vjp`; does nothing while recording is off. Save a tensor after its
/// last write.
class Saver {
 public:
  explicit Saver(bool on) : on_(on) {}
  template <class... T>
  void operator()(const T&... tensors) {
    if (on_) (add(tensors), ...);
  }
  bool on() const { return on_; }  ///< false: a forward may skip what only its vjp needs
  int64_t bytes() const;           ///< saved so far
  SavedTensors take() { return std::move(saved_); }

 private:
  void add(const Tensor& t);
  bool on_;
  SavedTensors saved_;
};

/// Where a gradient flows to: output `index` of `node`, or a leaf. Both empty: no gradient is wanted.
struct Edge {
  std::shared_ptr<Node> node;
  uint32_t index = 0;
  Tensor leaf;
  bool wanted() const { return node || leaf.defined(); }
};

/// What a vjp sees: the saved tensors, checked against in-place writes, and which gradients somebody wants.
class Saved {
 public:
  explicit Saved(const Node& node);
  const Tensor& operator[](size_t i) const;
  size_t size() const;
  bool needs(size_t input) const;
  /// The shape of an input whose gradient is wanted.
  const Shape& input_shape(size_t input) const;

 private:
  const Node& node_;
};

/// Shape, dtype and device of an output, kept to check and to fill in gradients.
struct OutputInfo {
  Shape shape;
  TensorOptions options;
};

/// One recorded op: what backward runs and inspection reads.
struct Node {
  virtual ~Node();
  virtual const char* name() const = 0;
  virtual Attributes attributes() const = 0;
  /// Gradients of the inputs from those of the outputs.
  virtual Gradients vjp(std::span<const Tensor> douts) const = 0;

  uint64_t sequence = 0;
  std::vector<Edge, PoolAllocator<Edge>> edges;  ///< one per input
  SavedTensors saved;
  std::vector<OutputInfo, PoolAllocator<OutputInfo>> outputs;
  std::string module_path;
  std::vector<std::pair<uint32_t, std::function<Tensor(const Tensor&)>>> hooks;  ///< by output index
  bool released = false;         ///< saved tensors were dropped by a backward pass
  std::vector<Tensor> incoming;  ///< gradients of the outputs gathered so far in a running backward pass
};

namespace detail {
/// Records a finished forward: attaches `node` to `outputs`.
void record(std::shared_ptr<Node> node, std::span<const Tensor> inputs, std::span<Tensor> outputs);
bool any_requires_grad(std::span<const Tensor> inputs);
bool anomaly_mode();
void check_finite(const char* op, const char* direction, std::span<const Tensor> tensors);
std::string describe(std::span<const Tensor> tensors);
Device device_of(std::span<const Tensor> tensors);

template <class T>
struct IsArray : std::false_type {};
template <size_t N>
struct IsArray<std::array<Tensor, N>> : std::true_type {};
template <>
struct IsArray<std::vector<Tensor>> : std::true_type {};

template <class Op>
Attributes attributes_of(const Op& op) {
  if constexpr (requires { op.attributes(); }) {
    return op.attributes();
  } else {
    return {};
  }
}
}  // namespace detail

template <class Op>
struct OpNode final : Node {
  explicit OpNode(Op o) : op(std::move(o)) {}
  const char* name() const override { return Op::name; }
  Attributes attributes() const override { return detail::attributes_of(op); }
  Gradients vjp(std::span<const Tensor> d) const override {
    const Saved kept(*this);
    if constexpr (requires { op.vjp(kept, d[0]); }) {
      return op.vjp(kept, d[0]);
    } else if constexpr (requires { op.vjp(kept, d[0], d[1]); }) {
      return op.vjp(kept, d[0], d[1]);
    } else if constexpr (requires { op.vjp(kept, d[0], d[1], d[2]); }) {
      return op.vjp(kept, d[0], d[1], d[2]);
    } else {
      return op.vjp(kept, d);
    }
  }
  Op op;
};

namespace detail {
template <class Op, class Forward>
auto apply_op(Op&& op, std::span<const Tensor> inputs, Forward&& forward) {
  using O = std::remove_cvref_t<Op>;
  const bool on = recording() && any_requires_grad(inputs);
  Saver save(on);
  auto out = [&] {
    const trace::OpScope op_scope(O::name);
    const NoGrad no_grad;
    if (!trace::observing()) return forward(save);
    trace::Scope scope(trace::Event::Kind::forward, O::name, device_of(inputs));
    auto result = forward(save);
    scope.describe(attributes_of(op), describe(inputs), save.bytes());
    return result;
  }();
  std::span<Tensor> outputs;
  if constexpr (IsArray<decltype(out)>::value) {
    outputs = out;
  } else {
    outputs = {&out, 1};
  }
  // What an op calls in turn is its own affair: it may look at memory that it has yet to fill.
  if (anomaly_mode() && !trace::in_op()) [[unlikely]]
    check_finite(O::name, "forward", outputs);
  if (on) {
    auto node = std::allocate_shared<OpNode<O>>(PoolAllocator<OpNode<O>>(), std::forward<Op>(op));
    node->saved = save.take();
    record(std::move(node), inputs, outputs);
  }
  return out;
}
}  // namespace detail

/// Runs `op.forward` on the inputs and, if recording is on and an input needs a gradient, appends a node to the tape.
template <class Op, class... T>
requires(std::is_same_v<T, Tensor>&&...) auto apply(Op op, const T&... inputs) {
  const std::array<Tensor, sizeof...(T)> list{inputs...};
  return detail::apply_op(op, list, [&](Saver& save) { return op.forward(save, inputs...); });
}
/// The same for any number of inputs.
template <class Op>
auto apply(Op op, std::span<const Tensor> inputs) {
  return detail::apply_op(op, inputs, [&](Saver& save) { return op.forward(save, inputs); });
}

}  // namespace vitrine
