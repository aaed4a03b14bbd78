/** The page's sign. */
export function Logo() {
  return <img class="logo" src={`${import.meta.env.BASE_URL}icon.svg`} alt="" width={56} height={56} />;
}
