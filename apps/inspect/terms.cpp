#include "apps/inspect/terms.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace vitrine::apps {

double rpe_share(std::span<const double> content, std::span<const double> rpe) {
  check(content.size() == rpe.size(), "rpe_share: {} content terms and {} of relative position", content.size(),
        rpe.size());
  double of_rpe = 0, all = 0;
  for (size_t i = 0; i < content.size(); ++i) {
    of_rpe += std::abs(rpe[i]);
    all += std::abs(content[i]) + std::abs(rpe[i]);
  }
  return all > 0 ? of_rpe / all : 0;
}

void PackedRows::add(std::span<const double> row, bool is_signed) {
  double largest = 0;
  for (const double x : row)
    if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
  scales.push_back(float(largest));
  const double factor = largest > 0 ? (is_signed ? 127 : 255) / largest : 0;
  for (const double x : row) {
    const long level = std::isfinite(x) ? std::lround(x * factor) : 0;
    values.push_back(is_signed ? uint8_t(int8_t(level)) : uint8_t(std::max(level, 0L)));
  }
}

std::vector<int64_t> chosen_queries(const nn::TokenGrid& grid, int64_t bytes_per_query, int64_t budget) {
  std::vector<int64_t> queries;
  for (int64_t step = 1;; ++step) {
    queries.clear();
    for (int64_t t = 0; t < grid.skip; ++t) queries.push_back(t);
    for (int64_t r = step / 2; r < grid.height; r += step)
      for (int64_t c = step / 2; c < grid.width; c += step) queries.push_back(grid.skip + r * grid.width + c);
    if (int64_t(queries.size()) * bytes_per_query <= budget || step >= std::max(grid.height, grid.width))
      return queries;
  }
}

std::string base64(std::span<const uint8_t> bytes) {
  static constexpr const char* kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t word = 0;
    for (size_t k = 0; k < 3; ++k) word = word << 8 | (k < n ? bytes[i + k] : 0);
    for (size_t k = 0; k < 4; ++k) out += k <= n ? kDigits[word >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::string base64(const std::vector<float>& values) {
  std::vector<uint8_t> bytes;
  for (const float x : values) {
    const auto bits = std::bit_cast<uint32_t>(x);
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(uint8_t(bits >> shift));
  }
  return base64(bytes);
}

std::string base64(const std::string& bytes) {
  return base64(std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
}

}  // namespace vitrine::apps
