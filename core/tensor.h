#pragma once
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/dtype.h"
#include "core/shape.h"
#include "core/storage.h"

namespace vitrine {

class Tensor;
struct Node;

/// Dtype and device of a new tensor.
struct TensorOptions {
  Dtype dtype = Dtype::f32;
  Device device = Device::cpu();
};

/// Options of Tensor::backward.
struct BackwardOptions;

namespace detail {
struct TensorState;
}

/// A value handle to an n-dimensional array: {storage, offset, shape, strides, dtype, autograd}. Copying a Tensor
/// shares; clone() copies. A default-constructed Tensor is undefined: an absent optional argument, or a zero gradient.
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(std::shared_ptr<detail::TensorState> state) : state_(std::move(state)) {}

  bool defined() const { return state_ != nullptr; }
  explicit operator bool() const { return defined(); }

  const Shape& shape() const;
  const Shape& strides() const;  ///< in elements
  int64_t offset() const;        ///< of the first element in the storage, in elements
  int64_t dim() const { return shape().size(); }
  int64_t size(int64_t dim) const;    ///< negative dims count from the back
  int64_t stride(int64_t dim) const;  ///< likewise
  int64_t numel() const;
  Dtype dtype() const;
  Device device() const;
  TensorOptions options() const { return {dtype(), device()}; }
  bool is_contiguous() const;
  bool same_as(const Tensor& other) const { return state_ == other.state_; }
  bool shares_storage(const Tensor& other) const;
  const std::shared_ptr<Storage>& storage() const;

  /// First element, to read. @throws DtypeError if T is not the dtype
  template <class T>
  const T* data() const {
    return static_cast<const T*>(raw_data(dtype_of<T>));
  }
  /// First element, to write: bumps the storage's version and notes the running op as its writer.
  template <class T>
  T* mutable_data() {
    return static_cast<T*>(raw_mutable_data(dtype_of<T>));
  }
  const void* raw_data() const { return raw_data(dtype()); }
  void* raw_mutable_data() { return raw_mutable_data(dtype()); }

  /// The value of a one-element tensor, from any device, converted to T. @throws ShapeError if there is not exactly one
  double item() const;
  /// All elements in row-major order, from any device, converted to double.
  std::vector<double> to_vector() const;

  // Views: no copy, recorded on the tape.
  Tensor view(const Shape& shape) const;     ///< one size may be -1. @throws ShapeError where reshape would copy
  Tensor reshape(const Shape& shape) const;  ///< a view where possible, else one copy
  Tensor permute(const Shape& dims) const;
  Tensor transpose(int64_t a, int64_t b) const;
  Tensor expand(const Shape& shape) const;  ///< repeats size-1 (and new leading) dims with stride 0; -1 keeps a size
  Tensor narrow(int64_t dim, int64_t start, int64_t length) const;
  Tensor select(int64_t dim, int64_t index) const;
  Tensor squeeze(int64_t dim) const;
  Tensor unsqueeze(int64_t dim) const;
  Tensor flatten(int64_t first = 0, int64_t last = -1) const;

  Tensor contiguous() const;       ///< itself if contiguous, else one recorded copy
  Tensor clone() const;            ///< a contiguous copy, recorded
  Tensor to(Dtype dtype) const;    ///< recorded cast; itself if nothing changes
  Tensor to(Device device) const;  ///< recorded move
  Tensor detach() const;           ///< shares the values, leaves the tape

  // In place: only outside a graph. @throws AutogradError if recording is on and the tensor needs a gradient
  Tensor& fill_(double value);
  Tensor& zero_() { return fill_(0); }
  Tensor& copy_(const Tensor& source);  ///< broadcasts, casts and crosses devices
  Tensor& add_(const Tensor& other);    ///< same shape, dtype and device
  Tensor& mul_(double factor);

  // Autograd.
  bool requires_grad() const;
  /// Makes a leaf take part in gradients. @throws AutogradError on a non-floating or non-leaf tensor
  Tensor& set_requires_grad(bool on = true);
  bool is_leaf() const { return node() == nullptr; }
  Tensor grad() const;  ///< undefined until a backward pass reaches this leaf
  void set_grad(const Tensor& grad);
  const std::shared_ptr<Node>& node() const;  ///< the op that made it, if recorded
  uint32_t output_index() const;
  /// Runs the tape from this tensor back to the leaves, newest node first, and accumulates into their grad.
  void backward() const;
  void backward(const BackwardOptions& options) const;
  /// `f` sees the gradient of this tensor in backward; what it returns, if defined, replaces it.
  void register_hook(std::function<Tensor(const Tensor&)> f) const;

  const std::shared_ptr<detail::TensorState>& state() const { return state_; }

 private:
  const void* raw_data(Dtype expected) const;
  void* raw_mutable_data(Dtype expected);

  std::shared_ptr<detail::TensorState> state_;
};

struct BackwardOptions {
  Tensor gradient = {};       ///< dLoss/d(this); ones for a one-element tensor if absent
  bool retain_graph = false;  ///< keep saved tensors for another pass
};

/// "[2, 197, 192] f32 cuda:0"; "undefined" if it is.
std::string to_string(const Tensor& tensor);

// Factories: a new contiguous tensor, a leaf that takes no gradient.
/// `shape` (up to 8 sizes, 0 too; {} is one element), its elements not written yet.
/// @throws ShapeError if a size is negative; OutOfMemory; DeviceError if this build or machine has no such device
Tensor empty(const Shape& shape, TensorOptions options = {});
Tensor empty_like(const Tensor& x);  ///< likewise, in the shape, dtype and device of x
/// Every element 0. Errors are those of empty, here and in the next four.
Tensor zeros(const Shape& shape, TensorOptions options = {});
Tensor zeros_like(const Tensor& x);                           ///< zeros in the shape, dtype and device of x
Tensor ones(const Shape& shape, TensorOptions options = {});  ///< every element 1
/// Every element `value`, converted to options.dtype.
Tensor full(const Shape& shape, double value, TensorOptions options = {});
/// `value` as a tensor of shape [], converted to options.dtype.
Tensor scalar(double value, TensorOptions options = {});
/// [n]: 0, 1, ..., n-1, converted to options.dtype. @throws ShapeError if n is negative; else as empty
Tensor arange(int64_t n, TensorOptions options = {.dtype = Dtype::i64});
/// A tensor on `options.device` with the given row-major values, converted to options.dtype. @throws ShapeError if
/// their count differs
Tensor from_vector(const std::vector<double>& values, const Shape& shape, TensorOptions options = {});
/// A contiguous CPU tensor holding a copy of `data`.
template <class T>
Tensor from_data(std::span<const T> data, const Shape& shape);

/// A strided window on `x`'s storage, not recorded: the building block of the views.
Tensor strided_view(const Tensor& x, int64_t offset, const Shape& shape, const Shape& strides);

// Argument checks of ops: each throws one error that names op, argument, shape, dtype and device.
/// `dim` brought into [0, x.dim()). @throws ShapeError
int64_t check_dim(const char* op, const Tensor& x, int64_t dim);
/// @throws ValueError if x is undefined
void check_defined(const char* op, const char* argument, const Tensor& x);
/// f64, f32, bf16 or f16. @throws ValueError if x is undefined, DtypeError
void check_floating(const char* op, const char* argument, const Tensor& x);
/// i64, i32 or u8. @throws ValueError if x is undefined, DtypeError
void check_integral(const char* op, const char* argument, const Tensor& x);
/// All on one device; undefined tensors are passed over. @throws DeviceError with the first two that differ
void check_same_device(const char* op, std::initializer_list<std::pair<const char*, const Tensor*>> arguments);
/// All of one dtype; undefined tensors are passed over. @throws DtypeError with the first two that differ
void check_same_dtype(const char* op, std::initializer_list<std::pair<const char*, const Tensor*>> arguments);

template <class T>
Tensor from_data(std::span<const T> data, const Shape& shape) {
  Tensor t = empty(shape, {.dtype = dtype_of<T>});
  check(shape.numel() == static_cast<int64_t>(data.size()), "from_data: {} values for shape {}", data.size(), shape);
  std::copy(data.begin(), data.end(), t.mutable_data<T>());
  return t;
}

}  // namespace vitrine
