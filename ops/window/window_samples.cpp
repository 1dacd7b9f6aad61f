#include "ops/concat/concat.h"
#include "ops/pad/pad.h"
#include "ops/window/window.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

/// The sides of an image with its padding.
struct Padded {
  int64_t height, width, size;
  int64_t rows() const { return (height + size - 1) / size; }
  int64_t columns() const { return (width + size - 1) / size; }
};

/// x[.., (i + shift) mod n, ..] along `dim`.
Tensor roll(const Tensor& x, int64_t dim, int64_t shift) {
  const int64_t n = x.size(dim);
  return ops::concat({x.narrow(dim, shift, n - shift), x.narrow(dim, 0, shift)}, dim);
}

/// Pad, roll, cut: the authors' steps.
Tensor plain_partition(const Tensor& x, int64_t size, int64_t shift) {
  const int64_t b = x.size(0), h = x.size(1), w = x.size(2), c = x.size(3);
  const Padded p{h, w, size};
  const Tensor padded = ops::pad(x, {{0, 0}, {0, p.rows() * size - h}, {0, p.columns() * size - w}, {0, 0}});
  const Tensor rolled = roll(roll(padded, 1, shift), 2, shift);
  return rolled.reshape({b, p.rows(), size, p.columns(), size, c})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({b * p.rows() * p.columns(), size * size, c});
}
Tensor plain_merge(const Tensor& windows, int64_t h, int64_t w, int64_t size, int64_t shift) {
  const Padded p{h, w, size};
  const int64_t hp = p.rows() * size, wp = p.columns() * size, c = windows.size(2);
  const int64_t b = windows.size(0) / (p.rows() * p.columns());
  const Tensor rolled =
      windows.reshape({b, p.rows(), p.columns(), size, size, c}).permute({0, 1, 3, 2, 4, 5}).reshape({b, hp, wp, c});
  return roll(roll(rolled, 1, hp - shift), 2, wp - shift).narrow(1, 0, h).narrow(2, 0, w);
}

const Register partition_spec(OpSpec{
    .name = "window_partition",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      return ops::window_partition(in[0], a.integer("size"), a.integer("shift", 0));
    },
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      return plain_partition(in[0], a.integer("size"), a.integer("shift", 0));
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({2, 4, 6, 3})}, {{"size", 2}}, "no shift"),
              Sample({m.normal({2, 6, 9, 8})}, {{"size", 3}, {"shift", 1}}, "shift, whole packs"),
              Sample({m.normal({1, 5, 7, 3})}, {{"size", 4}, {"shift", 2}}, "shift and padding"),
              Sample({m.normal({2, 3, 2, 16})}, {{"size", 7}, {"shift", 6}}, "smaller than a window"),
              Sample({m.normal({1, 14, 14, 5})}, {{"size", 7}, {"shift", 3}}, "four windows of Swin"),
              Sample({m.normal({1, 2, 3, 4})}, {{"size", 1}}, "windows of one token"),
              Sample({m.normal({0, 4, 4, 3})}, {{"size", 2}, {"shift", 1}}, "no images"),
              Sample({m.normal({2, 4, 4, 0})}, {{"size", 2}}, "no channels"),
              Sample({m.with_nan({1, 5, 7, 3})}, {{"size", 4}, {"shift", 2}}, "NaN").values_only()};
    },
    .benches = [](Maker& m) -> std::vector<Sample> {
      const double n = 8. * 56 * 56 * 96;
      return {
          Sample({m.normal({8, 56, 56, 96})}, {{"size", 7}, {"shift", 3}}, "Swin-T b8, first stage").bench(0, 8 * n)};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({1, 4, 4, 3}), flat = m.normal({4, 4}), none = m.normal({1, 0, 4, 3});
      const Tensor ids = m.integers({1, 4, 4, 3}, 0, 2);
      return {
          {[x] { ops::window_partition(x, 0); }, "window_partition: the size of a window must be at least 1, got 0"},
          {[x] { ops::window_partition(x, 2, 2); },
           "window_partition: shift 2 must be in [0, 2), the size of a window"},
          {[x] { ops::window_partition(x, 2, -1); },
           "window_partition: shift -1 must be in [0, 2), the size of a window"},
          {[flat] { ops::window_partition(flat, 2); },
           "window_partition: x [4, 4] f64 cpu must be [B, H, W, C] with pixels"},
          {[none] { ops::window_partition(none, 2); },
           "window_partition: x [1, 0, 4, 3] f64 cpu must be [B, H, W, C] with pixels"},
          {[ids] { ops::window_partition(ids, 2); }, "window_partition: x must be floating, got [1, 4, 4, 3] i64 cpu"}};
    }});

const Register merge_spec(OpSpec{
    .name = "window_merge",
    .arguments = {"windows"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      return ops::window_merge(in[0], a.integer("height"), a.integer("width"), a.integer("size"),
                               a.integer("shift", 0));
    },
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      return plain_merge(in[0], a.integer("height"), a.integer("width"), a.integer("size"), a.integer("shift", 0));
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      const auto to = [](int64_t height, int64_t width, int64_t size, int64_t shift) {
        return Attributes{{"height", height}, {"width", width}, {"size", size}, {"shift", shift}};
      };
      return {Sample({m.normal({12, 4, 3})}, to(4, 6, 2, 0), "no shift"),
              Sample({m.normal({12, 9, 8})}, to(6, 9, 3, 1), "shift, whole packs"),
              Sample({m.normal({4, 16, 3})}, to(5, 7, 4, 2), "shift and padding"),
              Sample({m.normal({2, 49, 16})}, to(3, 2, 7, 6), "smaller than a window"),
              Sample({m.normal({0, 4, 3})}, to(4, 4, 2, 1), "no images"),
              Sample({m.normal({8, 4, 0})}, to(4, 4, 2, 0), "no channels"),
              Sample({m.with_nan({4, 4, 3})}, to(4, 4, 2, 1), "NaN").values_only()};
    },
    .benches = [](Maker& m) -> std::vector<Sample> {
      const double n = 8. * 56 * 56 * 96;
      return {Sample({m.normal({512, 49, 96})}, {{"height", 56}, {"width", 56}, {"size", 7}, {"shift", 3}},
                     "Swin-T b8, first stage")
                  .bench(0, 8 * n)};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor w = m.normal({3, 4, 3}), flat = m.normal({4, 4}), ids = m.integers({4, 4, 3}, 0, 2);
      return {
          {[w] { ops::window_merge(w, 4, 4, 2); },
           "window_merge: windows [3, 4, 3] f64 cpu are not whole images: one of 4 x 4 has 4 windows of size 2"},
          {[w] { ops::window_merge(w, 4, 4, 3); },
           "window_merge: windows [3, 4, 3] f64 cpu must be [N, 9, C], their size being 3"},
          {[flat] { ops::window_merge(flat, 4, 4, 2); },
           "window_merge: windows [4, 4] f64 cpu must be [N, 4, C], their size being 2"},
          {[w] { ops::window_merge(w, 0, 4, 2); }, "window_merge: an image of 0 x 4"},
          {[w] { ops::window_merge(w, 4, 4, 0); }, "window_merge: the size of a window must be at least 1, got 0"},
          {[w] { ops::window_merge(w, 4, 4, 2, 3); }, "window_merge: shift 3 must be in [0, 2), the size of a window"},
          {[ids] { ops::window_merge(ids, 4, 4, 2); },
           "window_merge: windows must be floating, got [4, 4, 3] i64 cpu"}};
    }});

}  // namespace
}  // namespace vitrine::testing
