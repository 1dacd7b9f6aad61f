#pragma once
#include "core/random.h"
#include "core/tensor.h"

namespace vitrine::ops {

/// Zeroes elements with probability p and scales the others:  y_i = u_i >= p ? x_i / (1 - p) : 0
/// (Srivastava et al., "Dropout", JMLR 2014).
///
/// u_i = draw.uniform(i), with i the row-major index: the same mask on every device, for every layout and dtype. The
/// backward pass draws it again; nothing is kept but the draw. A dropped NaN is 0; p = 0 keeps everything, p = 1
/// nothing; no elements give no elements.
/// @param x     [*], floating, any strides
/// @param p     in [0, 1]; probabilities are exact to 2^-24
/// @param draw  of a Generator, whose seed and offset show as attributes
/// @return      shape and dtype of x, contiguous
/// @throws ValueError if p is not in [0, 1], DtypeError if x is not floating
Tensor dropout(const Tensor& x, double p, RandomDraw draw);

/// Zeroes whole samples with probability p and scales the others: dropout with one u_n for all of x[n]
/// (Huang et al., "Deep networks with stochastic depth", ECCV 2016; `drop_path` of timm).
///
/// @param x     [N, *], floating, any strides
/// @return      shape and dtype of x, contiguous
/// @throws ShapeError if x has no dims; else p, draw and errors as dropout
Tensor drop_path(const Tensor& x, double p, RandomDraw draw);

}  // namespace vitrine::ops
