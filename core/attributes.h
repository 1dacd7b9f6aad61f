#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/error.h"

namespace vitrine {

/// One attribute of an op: what the tape shows, and what a caller by name passes.
struct AttributeValue : std::variant<bool, int64_t, double, std::string, std::vector<int64_t>, std::vector<double>> {
  using variant::variant;
  AttributeValue(const char* s) : variant(std::string(s)) {}
  AttributeValue(int i) : variant(int64_t(i)) {}
};
/// As messages show it: "3", "0.5", "true", "text", "[1, 2]".
std::string to_string(const AttributeValue& value);

/// Named attributes in the order given. Readers take a default; without one a missing name throws ValueError.
class Attributes : public std::vector<std::pair<std::string, AttributeValue>> {
 public:
  using vector::vector;
  const AttributeValue* find(std::string_view name) const;

  int64_t integer(const char* name) const;
  int64_t integer(const char* name, int64_t otherwise) const;
  double number(const char* name) const;  ///< an integer is read as a number too
  double number(const char* name, double otherwise) const;
  bool flag(const char* name, bool otherwise) const;
  std::string text(const char* name) const;
  std::string text(const char* name, const std::string& otherwise) const;
  std::vector<int64_t> integers(const char* name) const;
  std::vector<double> numbers(const char* name) const;
};

}  // namespace vitrine
