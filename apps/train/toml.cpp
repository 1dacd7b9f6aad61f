#include "apps/train/toml.h"

#include <algorithm>
#include <cctype>
#include <cstring>

#include "core/error.h"

namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;

class TomlReader {
 public:
  TomlReader(const std::string& text, const std::string& where) : text_(text), where_(where) {}

  Json read() {
    Json document = Json::object();
    for (skip(true); at_ < text_.size(); skip(true)) {
      require(peek() != '[', "tables are not read; write all settings at the top");
      const std::string key = peek() == '"' || peek() == '\'' ? text() : bare_key();
      skip(false);
      require(peek() == '=', "'=' is missing after '" + key + "'");
      ++at_;
      skip(false);
      require(!document.contains(key), "'" + key + "' is set a second time");
      document[key] = value();
      skip(false);
      require(at_ == text_.size() || peek() == '\n', "the line goes on behind the value of '" + key + "'");
    }
    return document;
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void require(bool condition, const std::string& problem) const {
    check<IoError>(condition, "{}, line {}: {}", where_,
                   1 + std::count(text_.begin(), text_.begin() + int64_t(std::min(at_, text_.size())), '\n'), problem);
  }
  /// Passes over blanks and a comment; with `lines` over ends of lines too.
  void skip(bool lines) {
    while (at_ < text_.size()) {
      if (peek() == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (peek() == ' ' || peek() == '\t' || peek() == '\r' || (lines && peek() == '\n')) {
        ++at_;
      } else {
        return;
      }
    }
  }
  std::string bare_key() {
    const size_t first = at_;
    while (std::isalnum(uint8_t(peek())) || peek() == '_' || peek() == '-') ++at_;
    require(at_ > first, "a key is expected");
    return text_.substr(first, at_ - first);
  }
  /// "..." with escapes, those of JSON, or '...' without.
  std::string text() {
    const char quote = peek();
    const size_t first = at_++;
    while (at_ < text_.size() && peek() != quote && peek() != '\n') at_ += quote == '"' && peek() == '\\' ? 2 : 1;
    require(peek() == quote, "a text is not closed");
    ++at_;
    if (quote == '\'') return text_.substr(first + 1, at_ - first - 2);
    const Json parsed = Json::parse(text_.substr(first, at_ - first), nullptr, false);
    require(parsed.is_string(), "an escape in a text is not known, or it is not UTF-8");
    return parsed;
  }
  Json array() {
    Json list = Json::array();
    ++at_;
    for (skip(true); peek() != ']'; skip(true)) {
      require(peek() != '[', "an array of arrays is not read");
      list.push_back(value());
      skip(true);
      require(peek() == ',' || peek() == ']', "an array is not closed");
      if (peek() == ',') ++at_;
    }
    ++at_;
    return list;
  }
  Json value() {
    if (peek() == '"' || peek() == '\'') return text();
    if (peek() == '[') return array();
    std::string word;
    for (; at_ < text_.size() && !std::isspace(uint8_t(peek())) && !strchr(",]#", peek()); ++at_)
      if (peek() != '_') word += peek();
    const Json parsed = Json::parse(word.substr(word.starts_with('+')), nullptr, false);
    require(parsed.is_number() || parsed.is_boolean(), "'" + word + "' is no value; texts stand in quotes");
    return parsed;
  }

  const std::string& text_;
  const std::string& where_;
  size_t at_ = 0;
};

}  // namespace

Json parse_toml(const std::string& text, const std::string& where) { return TomlReader(text, where).read(); }

std::string toml_text(const Json& document) {
  std::string text;
  for (const auto& [key, value] : document.items()) text += key + " = " + value.dump() + "\n";
  return text;
}

}  // namespace vitrine::apps
