#include "core/tensor.h"

#include <cstring>

#include "core/autograd.h"
#include "core/backend.h"
#include "core/captured_graph.h"
#include "core/kernels/kernels.h"
#include "core/pool.h"
#include "core/tensor_state.h"

namespace vitrine {
namespace {

const detail::TensorState& state_of(const Tensor& t) {
  if (!t.state()) [[unlikely]]
    throw ValueError(format("{}: undefined tensor", trace::current_op()));
  return *t.state();
}

bool is_dense(const Shape& shape, const Shape& strides) {
  int64_t expected = 1;
  for (int64_t d = shape.size() - 1; d >= 0; --d) {
    if (shape[d] == 0) return true;
    if (shape[d] != 1 && strides[d] != expected) return false;
    expected *= shape[d];
  }
  return true;
}

Tensor make(std::shared_ptr<Storage> storage, int64_t offset, const Shape& shape, const Shape& strides, Dtype dtype) {
  auto state = std::allocate_shared<detail::TensorState>(PoolAllocator<detail::TensorState>());
  state->storage = std::move(storage);
  state->offset = offset;
  state->shape = shape;
  state->strides = strides;
  state->dtype = dtype;
  state->contiguous = is_dense(shape, strides);
  return Tensor(std::move(state));
}

size_t bytes_of(const Shape& shape, Dtype dtype) {
  int64_t bytes = size_of(dtype);
  for (int64_t n : shape) {
    check(n >= 0, "{}: negative size in shape {}", trace::current_op(), shape);
    if (n && __builtin_mul_overflow(bytes, n, &bytes))
      throw OutOfMemory(format("{}: shape {} {} has more than 2^63 bytes", trace::current_op(), shape, dtype));
  }
  return size_t(shape.numel() ? bytes : 0);
}

}  // namespace

const Shape& Tensor::shape() const { return state_of(*this).shape; }
const Shape& Tensor::strides() const { return state_of(*this).strides; }
int64_t Tensor::offset() const { return state_of(*this).offset; }
int64_t Tensor::numel() const { return state_of(*this).shape.numel(); }
Dtype Tensor::dtype() const { return state_of(*this).dtype; }
Device Tensor::device() const { return state_of(*this).storage->device(); }
bool Tensor::is_contiguous() const { return state_of(*this).contiguous; }
const std::shared_ptr<Storage>& Tensor::storage() const { return state_of(*this).storage; }
bool Tensor::shares_storage(const Tensor& o) const { return defined() && o.defined() && storage() == o.storage(); }
int64_t Tensor::size(int64_t dim) const { return shape()[check_dim("size", *this, dim)]; }
int64_t Tensor::stride(int64_t dim) const { return strides()[check_dim("stride", *this, dim)]; }

const void* Tensor::raw_data(Dtype expected) const {
  const auto& s = state_of(*this);
  check<DtypeError>(s.dtype == expected, "{}: {} was read as {}", trace::current_op(), *this, expected);
  if (detail::capture_notes) [[unlikely]]
    detail::note_use(s.storage, false);
  return s.storage->data() + s.offset * size_of(s.dtype);
}
void* Tensor::raw_mutable_data(Dtype expected) {
  const auto& storage = state_of(*this).storage;
  storage->note_write();
  if (detail::capture_notes) [[unlikely]]
    detail::note_use(storage, true);
  return const_cast<void*>(raw_data(expected));
}

double Tensor::item() const {
  check(numel() == 1, "item: needs exactly one element, got {}", *this);
  return to_vector()[0];
}

std::vector<double> Tensor::to_vector() const {
  const NoGrad no_grad;
  const Tensor host = contiguous().to(Device::cpu());
  std::vector<double> values(size_t(host.numel()));
  dispatch_all(dtype(), [&]<class T>() {
    const T* p = host.data<T>();
    for (size_t i = 0; i < values.size(); ++i) values[i] = convert<double>(p[i]);
  });
  return values;
}

std::string to_string(const Tensor& t) {
  if (!t.defined()) return "undefined";
  return to_string(t.shape()) + " " + to_string(t.dtype()) + " " + to_string(t.device());
}

// Factories.

Tensor empty(const Shape& shape, TensorOptions options) {
  auto storage =
      std::allocate_shared<Storage>(PoolAllocator<Storage>(), bytes_of(shape, options.dtype), options.device);
  return make(std::move(storage), 0, shape, contiguous_strides(shape), options.dtype);
}
Tensor empty_like(const Tensor& x) { return empty(x.shape(), x.options()); }
Tensor full(const Shape& shape, double value, TensorOptions options) {
  Tensor t = empty(shape, options);
  kernels::fill(t, value);
  return t;
}
Tensor zeros(const Shape& shape, TensorOptions options) { return full(shape, 0, options); }
Tensor zeros_like(const Tensor& x) { return zeros(x.shape(), x.options()); }
Tensor ones(const Shape& shape, TensorOptions options) { return full(shape, 1, options); }
Tensor scalar(double value, TensorOptions options) { return full({}, value, options); }

Tensor from_vector(const std::vector<double>& values, const Shape& shape, TensorOptions options) {
  check(shape.numel() == int64_t(values.size()), "from_vector: {} values for shape {}", values.size(), shape);
  Tensor host = empty(shape, {.dtype = options.dtype});
  dispatch_all(options.dtype, [&]<class T>() {
    T* p = host.mutable_data<T>();
    for (size_t i = 0; i < values.size(); ++i) p[i] = convert<T>(values[i]);
  });
  return host.to(options.device);
}

Tensor arange(int64_t n, TensorOptions options) {
  std::vector<double> values(size_t(std::max<int64_t>(n, 0)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = double(i);
  return from_vector(values, {n}, options);
}

Tensor strided_view(const Tensor& x, int64_t offset, const Shape& shape, const Shape& strides) {
  return make(x.storage(), offset, shape, strides, x.dtype());
}

Tensor Tensor::detach() const {
  const auto& s = state_of(*this);
  return make(s.storage, s.offset, s.shape, s.strides, s.dtype);
}

// In place.

namespace {
void check_in_place(const char* name, const Tensor& t) {
  check<AutogradError>(!recording() || !t.requires_grad(),
                       "{}: {} needs a gradient; change it under NoGrad or work on a copy", name, t);
}
}  // namespace

Tensor& Tensor::fill_(double value) {
  check_in_place("fill_", *this);
  const trace::OpScope scope("fill_");
  kernels::fill(*this, value);
  return *this;
}

Tensor& Tensor::copy_(const Tensor& source) {
  check_in_place("copy_", *this);
  const trace::OpScope scope("copy_");
  const NoGrad no_grad;
  check(broadcast_shapes("copy_", shape(), source.shape()) == shape(), "copy_: {} does not broadcast to {}", source,
        *this);
  if (device() == source.device()) {
    kernels::copy(source.expand(shape()), *this);
    return *this;
  }
  const Tensor dense = source.to(dtype()).contiguous();
  Tensor moved = empty(dense.shape(), {.dtype = dtype(), .device = device()});
  copy_bytes(moved.raw_mutable_data(), device(), dense.raw_data(), dense.device(),
             size_t(dense.numel() * size_of(dtype())));
  kernels::copy(moved.expand(shape()), *this);
  return *this;
}

Tensor& Tensor::add_(const Tensor& other) {
  check_in_place("add_", *this);
  const trace::OpScope scope("add_");
  check_floating("add_", "this", *this);
  check(shape() == other.shape() && dtype() == other.dtype() && device() == other.device(), "add_: {} and {} differ",
        *this, other);
  kernels::accumulate(other, *this);
  return *this;
}

Tensor& Tensor::mul_(double factor) {
  check_in_place("mul_", *this);
  const trace::OpScope scope("mul_");
  check_floating("mul_", "this", *this);
  kernels::scale(*this, factor);
  return *this;
}

// Argument checks.

int64_t check_dim(const char* op, const Tensor& x, int64_t dim) {
  const int64_t dims = x.dim();
  check(dim >= -dims && dim < dims, "{}: dim {} is out of range for x {}", op, dim, x);
  return dim < 0 ? dim + dims : dim;
}

void check_defined(const char* op, const char* argument, const Tensor& x) {
  check<ValueError>(x.defined(), "{}: {} is undefined", op, argument);
}

void check_floating(const char* op, const char* argument, const Tensor& x) {
  check_defined(op, argument, x);
  check<DtypeError>(is_floating(x.dtype()), "{}: {} must be floating, got {}", op, argument, x);
}

void check_integral(const char* op, const char* argument, const Tensor& x) {
  check_defined(op, argument, x);
  check<DtypeError>(is_integral(x.dtype()), "{}: {} must be an integer tensor, got {}", op, argument, x);
}

namespace {
template <class E, class Same>
void check_all_same(const char* op, const char* what,
                    std::initializer_list<std::pair<const char*, const Tensor*>> arguments, Same same) {
  const std::pair<const char*, const Tensor*>* first = nullptr;
  for (const auto& argument : arguments) {
    if (!argument.second->defined()) continue;
    if (!first) first = &argument;
    check<E>(same(*first->second, *argument.second), "{}: {} {} and {} {} have different {}", op, first->first,
             *first->second, argument.first, *argument.second, what);
  }
}
}  // namespace

void check_same_device(const char* op, std::initializer_list<std::pair<const char*, const Tensor*>> arguments) {
  check_all_same<DeviceError>(op, "devices", arguments,
                              [](const Tensor& a, const Tensor& b) { return a.device() == b.device(); });
}
void check_same_dtype(const char* op, std::initializer_list<std::pair<const char*, const Tensor*>> arguments) {
  check_all_same<DtypeError>(op, "dtypes", arguments,
                             [](const Tensor& a, const Tensor& b) { return a.dtype() == b.dtype(); });
}

}  // namespace vitrine
