// Gradients of a formula of three numbers, beside the same gradients worked out by hand.
//
//     y = ln(1 + exp(w x + b)) + w x^2
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "ops/all.h"

using namespace vitrine;

int main() {
  const double w0 = 0.5, x0 = -1.25, b0 = 2.0;
  // Numbers are tensors without dimensions. These three are leaves: backward() leaves a gradient in each.
  const TensorOptions f64{.dtype = Dtype::f64};
  Tensor w = scalar(w0, f64).set_requires_grad();
  Tensor x = scalar(x0, f64).set_requires_grad();
  Tensor b = scalar(b0, f64).set_requires_grad();

  // Each line computes at once and appends nodes to the tape.
  const Tensor z = w * x + b;
  const Tensor y = ops::softplus(z) + w * ops::square(x);

  // The tape runs from y back to the leaves, newest node first.
  y.backward();

  // By hand, with s = 1 / (1 + exp(-z)):  dy/dw = s x + x^2,  dy/dx = s w + 2 w x,  dy/db = s.
  const double s = 1 / (1 + std::exp(-(w0 * x0 + b0)));
  struct Row {
    const char* name;
    double tape, hand;
  };
  const Row rows[] = {{"dy/dw", w.grad().item(), s * x0 + x0 * x0},
                      {"dy/dx", x.grad().item(), s * w0 + 2 * w0 * x0},
                      {"dy/db", b.grad().item(), s}};
  std::printf("y = %.15f\n\n         tape                 by hand\n", y.item());
  double largest = 0;
  for (const Row& row : rows) {
    std::printf("%s  %19.15f  %19.15f\n", row.name, row.tape, row.hand);
    largest = std::max(largest, std::abs(row.tape - row.hand));
  }
  const bool equal = largest < 1e-14;
  std::printf("\nlargest difference %.1e: %s\n", largest, equal ? "they agree" : "they DISAGREE");
  return equal ? 0 : 1;
}
