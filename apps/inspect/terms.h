#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "nn/attention.h"

/// Attention logits and probabilities as the page of `vitrine inspect` holds them.
namespace vitrine::apps {

/// How much of the logits is relative position:  sum |rpe_ij| / sum (|content_ij| + |rpe_ij|)  over all pairs; 0 if
/// all are zero. @throws ShapeError if the sizes differ
double rpe_share(std::span<const double> content, std::span<const double> rpe);

/// Rows of numbers, a byte each. Signed: x = scale * int8(value) / 127; else x = scale * value / 255. The scale is the
/// row's largest magnitude, so the error is at most scale / 254 or scale / 510. What is not finite becomes 0.
struct PackedRows {
  std::vector<float> scales;  ///< one a row
  std::vector<uint8_t> values;
  void add(std::span<const double> row, bool is_signed);
};

/// The queries whose rows fit into `budget` bytes at `bytes_per_query`: all tokens; else the extra ones and every
/// second cell of the grid both ways, or every third, ...: the coarsest has one cell.
std::vector<int64_t> chosen_queries(const nn::TokenGrid& grid, int64_t bytes_per_query, int64_t budget);

/// RFC 4648, with padding.
std::string base64(std::span<const uint8_t> bytes);
/// Their bytes, little endian, as base64.
std::string base64(const std::vector<float>& values);
std::string base64(const std::string& bytes);

}  // namespace vitrine::apps
