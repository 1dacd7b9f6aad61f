#include "apps/inspect/html.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "apps/inspect/terms.h"
#include "core/error.h"

namespace vitrine::apps {
namespace {

constexpr const char* kReplacement = "\xEF\xBF\xBD";

/// Bytes of the UTF-8 sequence that starts at `at`; 0 if it is none (RFC 3629: no overlong forms, no surrogates).
size_t sequence_length(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) { return at + i < text.size() ? unsigned(uint8_t(text[at + i])) : 0U; };
  const unsigned first = byte(0);
  const size_t length = first < 0x80                    ? 1
                        : first >= 0xC2 && first < 0xE0 ? 2
                        : first >= 0xE0 && first < 0xF0 ? 3
                        : first >= 0xF0 && first < 0xF5 ? 4
                                                        : 0;
  for (size_t i = 1; i < length; ++i)
    if (byte(i) >> 6 != 2) return 0;
  const unsigned second = byte(1);
  const bool bad = (first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
                   (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F);
  return bad ? 0 : length;
}

}  // namespace

std::string html_text(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t n = sequence_length(text, i);
    const char c = text[i];
    const bool control = n == 1 && (uint8_t(c) < 0x20 || c == 0x7F);
    if (n == 0 || control) {
      out += kReplacement;
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else {
      out += text.substr(i, n);
    }
    i += std::max<size_t>(n, 1);
  }
  return out;
}

std::string script_json(std::string json) {
  for (size_t at = 0; (at = json.find('<', at)) != std::string::npos;) json.replace(at, 1, "\\u003c");
  return json;
}

std::string png_uri(const data::Image& image) { return "data:image/png;base64," + base64(data::encode_png(image)); }

std::string table_row(const std::vector<std::string>& html, const char* cell) {
  std::string row = "<tr>";
  for (const std::string& content : html) row += format("<{}>{}</{}>", cell, content, cell);
  return row + "</tr>\n";
}

std::string bar(double fraction) {
  const double percent = std::isfinite(fraction) ? 100 * std::clamp(fraction, 0.0, 1.0) : 0;
  char width[32];
  snprintf(width, sizeof width, "%.2f", percent);
  return format("<span class=bar><i style=\"width:{}%\"></i></span>", width);
}

}  // namespace vitrine::apps
